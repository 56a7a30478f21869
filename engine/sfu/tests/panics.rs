//! A mistake of ours, planted: it ends one transport, is owned up to, and everyone else's media goes on.

mod support;

use std::time::Duration;

use parley_sfu::event::{Event, Reason, TransportState};
use parley_sfu::media::{MediaCommand, MediaEvent};
use parley_sfu::planted::Place;
use parley_sfu::spec::{ConsumerId, TransportId};
use support::Stage;
use support::media::{AUDIO, VIDEO, publish, received, subscribe, write};

/// A publisher and two who are sent its audio and video.
struct Call {
    stage: Stage,
    publisher: usize,
    victim: usize,
    consumers: Vec<ConsumerId>,
    bystander: usize,
    next: u64,
}

impl Call {
    fn new() -> Call {
        let mut stage = Stage::new();
        let (publisher, producers) = publish(&mut stage, &[AUDIO, VIDEO]);
        let (victim, consumers) = subscribe(&mut stage, &[AUDIO, VIDEO], &producers);
        let (bystander, _) = subscribe(&mut stage, &[AUDIO, VIDEO], &producers);
        let mut call = Call {
            stage,
            publisher,
            victim,
            consumers,
            bystander,
            next: 0,
        };
        call.media_flows_to(&[victim, bystander]);
        call.stage.events.clear();
        call
    }

    fn transport(&self, peer: usize) -> u64 {
        self.stage.transports[peer].0
    }

    fn send(&mut self) {
        for track in [AUDIO, VIDEO] {
            write(&mut self.stage, self.publisher, &track, self.next);
        }
        self.next += 1;
        self.stage.idle(Duration::from_millis(2));
    }

    /// Both tracks arrive anew at each of these peers.
    fn media_flows_to(&mut self, peers: &[usize]) {
        for peer in peers {
            let (mut heard, mut seen) = (Vec::new(), Vec::new());
            self.drain(*peer);
            for _ in 0..1000 {
                self.send();
                received(&mut self.stage, *peer, &AUDIO, &mut heard);
                received(&mut self.stage, *peer, &VIDEO, &mut seen);
                if heard.len() >= 20 && seen.len() >= 20 {
                    break;
                }
            }
            assert!(heard.len() >= 20 && seen.len() >= 20, "media does not flow");
        }
    }

    fn drain(&mut self, peer: usize) {
        let mut old = Vec::new();
        received(&mut self.stage, peer, &AUDIO, &mut old);
        received(&mut self.stage, peer, &VIDEO, &mut old);
    }

    /// Sends until the mistake has been made, and checks that it ended this peer's transport alone.
    fn ends_alone(&mut self, peer: usize) {
        let transport = self.stage.transports[peer];
        for _ in 0..2000 {
            self.send();
            if self.stage.counters()["panics"] > 0 {
                break;
            }
        }
        assert_eq!(self.stage.counters()["panics"], 1);
        let told = self.stage.until("the end", |stage| {
            let ended = |event: &Event| match event {
                Event::TransportState {
                    transport,
                    state: TransportState::Closed,
                    reason,
                } => Some((*transport, *reason)),
                _ => None,
            };
            stage.take(ended)
        });
        assert_eq!(told, (transport, Some(Reason::Internal)));
        let named = self.stage.take(|event| match event {
            Event::InternalError { transport, .. } => Some(*transport),
            _ => None,
        });
        assert_eq!(named, Some(Some(transport)));
    }

    fn others_left(&self) -> usize {
        let is_end = |event: &&Event| match event {
            Event::TransportState { state, .. } => *state != TransportState::Connected,
            _ => false,
        };
        self.stage.events.iter().filter(is_end).count()
    }
}

#[test]
fn a_panic_in_sending_to_a_subscriber_ends_that_subscriber_and_not_the_publisher() {
    let mut call = Call::new();
    let consumer = call.consumers[1];

    call.stage.engine.plant(Place::Forward, consumer.0);
    call.ends_alone(call.victim);

    call.media_flows_to(&[call.bystander]);
    assert_eq!(call.others_left(), 0);
    call.stage.counted("transports", 2);
    assert_eq!(call.stage.counters()["consumers"], 2);
    assert_eq!(call.stage.counters()["producers"], 2);
}

#[test]
fn a_panic_on_a_publishers_datagram_ends_the_publisher_and_pauses_who_watched() {
    let mut call = Call::new();
    let (publisher, transport) = (call.publisher, call.transport(call.publisher));

    call.stage.engine.plant(Place::Datagram, transport);
    call.ends_alone(publisher);

    let paused = call
        .stage
        .events
        .iter()
        .filter(|event| matches!(event, Event::Media(MediaEvent::ConsumerPaused { .. })));
    assert_eq!(paused.count(), 4);
    assert_eq!(call.stage.counters()["producers"], 0);
    assert_eq!(call.stage.counters()["consumers"], 4);
    // Those who watched can watch another.
    let (again, producers) = publish(&mut call.stage, &[AUDIO, VIDEO]);
    call.publisher = again;
    for (consumer, producer) in call.consumers.clone().into_iter().zip(producers) {
        let source = MediaCommand::ConsumerSource(consumer, Some(producer), None);
        call.stage.engine.media(source).unwrap();
    }
    call.media_flows_to(&[call.victim]);
}

#[test]
fn a_panic_in_a_timer_a_report_or_a_command_ends_its_own_transport() {
    for place in [
        Place::Timer,
        Place::MediaTimer,
        Place::MediaCommand,
        Place::Command,
    ] {
        let mut call = Call::new();
        let (victim, transport) = (call.victim, call.transport(call.victim));

        call.stage.engine.plant(place, transport);
        match place {
            Place::MediaCommand => {
                let command = MediaCommand::ConsumerKeyframe(call.consumers[1]);
                call.stage.engine.media(command).unwrap();
            }
            Place::Command => {
                let change = parley_sfu::command::Change::default();
                call.stage
                    .engine
                    .apply(TransportId(transport), change)
                    .unwrap();
            }
            _ => {}
        }
        call.ends_alone(victim);

        call.media_flows_to(&[call.bystander]);
        assert_eq!(call.others_left(), 0, "{place:?}");
        assert_eq!(call.stage.counters()["consumers"], 2, "{place:?}");
    }
}

#[test]
fn a_panic_in_the_goodbye_leaves_nothing_behind() {
    let mut call = Call::new();
    let transport = call.stage.transports[call.victim];
    let [leaving, staying] = [call.victim, call.bystander].map(|peer| {
        let transport = call.stage.transports[peer];
        let channel = call
            .stage
            .engine
            .open_channel(transport, Default::default());
        channel.unwrap()
    });
    leaving.link(&staying).unwrap();
    staying.link(&leaving).unwrap();
    call.stage.counted("links", 2);

    call.stage.engine.plant(Place::Goodbye, transport.0);
    call.stage.engine.close_transport(transport).unwrap();
    call.stage.state(transport, TransportState::Closed);

    call.media_flows_to(&[call.bystander]);
    call.stage.counted("panics", 1);
    assert_eq!(call.stage.counters()["transports"], 2);
    assert_eq!(call.stage.counters()["consumers"], 2);
    assert_eq!(call.stage.counters()["links"], 0);
}

#[test]
fn a_panic_that_is_nobodys_is_owned_up_to_and_ends_nobody() {
    let mut call = Call::new();

    call.stage.engine.plant(Place::Turn, 0);
    call.stage.until("owning up", |stage| {
        stage.take(|event| match event {
            Event::InternalError {
                transport: None, ..
            } => Some(()),
            _ => None,
        })
    });

    let (victim, bystander) = (call.victim, call.bystander);
    call.media_flows_to(&[victim, bystander]);
    assert_eq!(call.others_left(), 0);
}

#[test]
fn an_engine_that_cannot_go_on_says_so_and_refuses_from_then_on() {
    let mut call = Call::new();

    call.stage.until("the end", |stage| {
        stage.engine.plant(Place::Turn, 0);
        stage.take(|event| matches!(event, Event::Ended { .. }).then_some(()))
    });

    for transport in call.stage.transports.clone() {
        call.stage.state(transport, TransportState::Closed);
    }
    let group = parley_sfu::spec::GroupId(1);
    call.stage.until("refusal", |stage| {
        stage.engine.create_transport(group).is_err().then_some(())
    });
    let refused = call.stage.engine.broadcast(&[], bytes::Bytes::new(), false);
    assert_eq!(refused.unwrap_err().to_string(), "engine closed");
    assert!(call.stage.engine.close(Duration::from_secs(2)));
}

#[test]
fn a_thousand_contained_panics_do_not_end_the_engine() {
    let mut stage = Stage::new();
    let group = parley_sfu::spec::GroupId(1);

    for _ in 0..1000 {
        let made = stage.engine.create_transport(group).unwrap();
        stage.engine.plant(Place::Command, made.id.0);
        let change = parley_sfu::command::Change::default();
        stage.engine.apply(made.id, change).unwrap();
        stage.state(made.id, TransportState::Closed);
    }

    assert_eq!(stage.counters()["transports"], 0);
    stage.connect();
}
