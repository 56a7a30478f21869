// How well packets travel between this page and the server, from the browser's own counters.

import { type LocalTrack, type RemoteTrack, RemoteTrack as Remote, type Room } from 'livekit-client'
import type { Link } from './view'

/** A measurement, with the running counts that the next one is compared to. */
export interface Tally {
  link: Link
  received: number
  lost: number
}

export async function measure(room: Room, before: Tally | undefined): Promise<Tally> {
  let received = 0
  let lost = 0
  let roundTripMs: number | undefined
  let lossAtServer = 0
  for (const track of tracks(room)) {
    const report = await track.getRTCStatsReport()
    report?.forEach((entry: Record<string, unknown>) => {
      if (entry.type === 'candidate-pair' && entry.nominated === true && typeof entry.currentRoundTripTime === 'number') {
        roundTripMs = entry.currentRoundTripTime * 1000
      } else if (entry.type === 'inbound-rtp') {
        received += count(entry.packetsReceived)
        lost += count(entry.packetsLost)
      } else if (entry.type === 'remote-inbound-rtp') {
        lossAtServer = Math.max(lossAtServer, count(entry.fractionLost))
      }
    })
  }
  // Counts start anew when tracks come and go; then this interval says nothing.
  const newlyReceived = Math.max(0, received - (before?.received ?? received))
  const newlyLost = Math.max(0, lost - (before?.lost ?? lost))
  const lossHere = newlyLost / Math.max(1, newlyReceived + newlyLost)
  return { link: { roundTripMs, loss: Math.max(lossHere, lossAtServer) }, received, lost }
}

function tracks(room: Room): (LocalTrack | RemoteTrack)[] {
  const published = [room.localParticipant, ...room.remoteParticipants.values()].flatMap((person) => [
    ...person.trackPublications.values(),
  ])
  return published.flatMap(({ track }) => (track && hasStats(track) ? [track] : []))
}

function hasStats(track: object): track is LocalTrack | RemoteTrack {
  return track instanceof Remote || 'getRTCStatsReport' in track
}

function count(value: unknown): number {
  return typeof value === 'number' && value > 0 ? value : 0
}

/** The link in a word. */
export function grade({ roundTripMs = 0, loss }: Link): 'good' | 'fair' | 'poor' {
  if (loss > 0.08 || roundTripMs > 400) return 'poor'
  if (loss > 0.02 || roundTripMs > 200) return 'fair'
  return 'good'
}
