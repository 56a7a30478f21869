// A track of the client library as a picture that components can show.

import { facingModeFromLocalTrack, LocalVideoTrack, Track } from 'livekit-client'
import type { Picture } from './view'

const known = new WeakMap<Track, Picture>()

/** The one picture of a track. Your own camera is mirrored, as people know themselves, unless it looks away from you. */
export function pictureOf(track: Track): Picture {
  let picture = known.get(track)
  if (!picture) {
    picture = {
      id: track.mediaStreamTrack.id,
      isMirrored: track instanceof LocalVideoTrack && track.source === Track.Source.Camera && facesUser(track),
      show: (element) => {
        track.attach(element)
        return () => void track.detach(element)
      },
    }
    known.set(track, picture)
  }
  return picture
}

function facesUser(track: LocalVideoTrack): boolean {
  return facingModeFromLocalTrack(track).facingMode !== 'environment'
}
