//! Audio and video from one independent peer to others, through a real socket and real keys.

mod support;

use std::time::Duration;

use parley_sfu::command::Change;
use parley_sfu::event::Event;
use parley_sfu::media::{MediaCommand, MediaEvent};
use parley_sfu::spec::{Flow, Mid};
use str0m::media::KeyframeRequestKind;
use support::Stage;
use support::media::{AUDIO, VIDEO, number, publish, received, subscribe, write};

#[test]
fn audio_and_video_reach_two_subscribers_whole_and_in_order() {
    let mut stage = Stage::new();
    let (publisher, producers) = publish(&mut stage, &[AUDIO, VIDEO]);
    let (first, _) = subscribe(&mut stage, &[AUDIO, VIDEO], &producers);
    let (second, _) = subscribe(&mut stage, &[AUDIO, VIDEO], &producers);
    let mut heard = [Vec::new(), Vec::new()];
    let mut seen = [Vec::new(), Vec::new()];

    for n in 0..120 {
        write(&mut stage, publisher, &AUDIO, n);
        write(&mut stage, publisher, &VIDEO, n);
        stage.idle(Duration::from_millis(4));
    }
    stage.until("the rest", |stage| {
        for (index, peer) in [first, second].into_iter().enumerate() {
            received(stage, peer, &AUDIO, &mut heard[index]);
            received(stage, peer, &VIDEO, &mut seen[index]);
        }
        let whole = heard.iter().all(|h| h.len() >= 120) && seen.iter().all(|s| s.len() >= 120);
        whole.then_some(())
    });

    for heard in &heard {
        let last = heard.last().unwrap();
        assert_eq!(*last.payload, *b"audio 119");
        assert_eq!(*last.header.payload_type, AUDIO.pt);
        let steps: Vec<u64> = heard
            .windows(2)
            .map(|pair| *pair[1].seq_no - *pair[0].seq_no)
            .collect();
        assert_eq!(steps, vec![1; 119]);
    }
    for seen in &seen {
        assert!(seen.iter().map(number).eq(0..120));
        assert!(seen.iter().all(|packet| packet.header.marker));
    }
    let first_packets = stage
        .events
        .iter()
        .filter(|event| matches!(event, Event::Media(MediaEvent::FirstPacket { .. })))
        .count();
    assert_eq!(first_packets, 2);
}

#[test]
fn what_a_subscriber_loses_it_gets_again() {
    let mut stage = Stage::new();
    let (publisher, producers) = publish(&mut stage, &[VIDEO]);
    let (subscriber, _) = subscribe(&mut stage, &[VIDEO], &producers);
    let mut seen = Vec::new();

    for n in 0..200 {
        // A tenth of the packets toward the subscriber is thrown away.
        let lost = n > 10 && n % 10 == 0;
        if lost {
            stage.peers[subscriber].unplugged = true;
        }
        write(&mut stage, publisher, &VIDEO, n);
        stage.idle(Duration::from_millis(3));
        stage.peers[subscriber].unplugged = false;
        stage.idle(Duration::from_millis(2));
        received(&mut stage, subscriber, &VIDEO, &mut seen);
    }

    stage.until("repair", |stage| {
        received(stage, subscriber, &VIDEO, &mut seen);
        let mut numbers: Vec<u64> = seen.iter().map(number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        (numbers.len() == 200).then_some(())
    });
}

#[test]
fn what_the_engine_loses_it_asks_for() {
    let mut stage = Stage::new();
    let (publisher, producers) = publish(&mut stage, &[VIDEO]);
    let (subscriber, _) = subscribe(&mut stage, &[VIDEO], &producers);
    let mut seen = Vec::new();

    for n in 0..200 {
        let lost = n > 10 && n % 10 == 0;
        stage.peers[publisher].unplugged = lost;
        write(&mut stage, publisher, &VIDEO, n);
        stage.idle(Duration::from_millis(3));
        stage.peers[publisher].unplugged = false;
        stage.idle(Duration::from_millis(2));
    }

    stage.until("repair", |stage| {
        received(stage, subscriber, &VIDEO, &mut seen);
        let mut numbers: Vec<u64> = seen.iter().map(number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        (numbers.len() == 200).then_some(())
    });
}

#[test]
fn a_subscriber_that_comes_late_has_a_keyframe_asked_for() {
    let mut stage = Stage::new();
    let (publisher, producers) = publish(&mut stage, &[VIDEO]);
    for n in 0..10 {
        write(&mut stage, publisher, &VIDEO, n);
        stage.idle(Duration::from_millis(3));
    }
    stage.peers[publisher].events.clear();

    let (subscriber, _) = subscribe(&mut stage, &[VIDEO], &producers);
    let asked = stage.until("request", |stage| {
        stage.peers[publisher].take(|event| match event {
            str0m::Event::KeyframeRequest(request) => Some(request.kind),
            _ => None,
        })
    });
    write(&mut stage, publisher, &VIDEO, 10);
    for n in 30..40 {
        write(&mut stage, publisher, &VIDEO, n);
    }
    let mut seen = Vec::new();
    stage.until("video", |stage| {
        received(stage, subscriber, &VIDEO, &mut seen);
        (seen.len() >= 10).then_some(())
    });

    assert_eq!(asked, KeyframeRequestKind::Pli);
    // Nothing that could not be decoded was sent before it.
    assert_eq!(number(&seen[0]), 30);
}

#[test]
fn a_request_of_the_subscriber_reaches_the_publisher() {
    let mut stage = Stage::new();
    let (publisher, producers) = publish(&mut stage, &[VIDEO]);
    let (subscriber, _) = subscribe(&mut stage, &[VIDEO], &producers);
    let mut seen = Vec::new();
    for n in 0..20 {
        write(&mut stage, publisher, &VIDEO, n);
        stage.idle(Duration::from_millis(3));
    }
    received(&mut stage, subscriber, &VIDEO, &mut seen);
    assert!(!seen.is_empty());
    // The request that the subscription itself caused is throttled away from this one.
    stage.idle(Duration::from_millis(1100));
    stage.peers[publisher].events.clear();

    stage.peers[subscriber]
        .rtc
        .direct_api()
        .stream_rx(&(VIDEO.ssrc + 100).into())
        .unwrap()
        .request_keyframe(KeyframeRequestKind::Pli);

    stage.until("request", |stage| {
        stage.peers[publisher]
            .take(|event| matches!(event, str0m::Event::KeyframeRequest(_)).then_some(()))
    });
}

#[test]
fn pausing_and_ending_stop_the_flow() {
    let mut stage = Stage::new();
    let (publisher, producers) = publish(&mut stage, &[AUDIO]);
    let (subscriber, consumers) = subscribe(&mut stage, &[AUDIO], &producers);
    let mut heard = Vec::new();
    let mut count = |stage: &mut Stage, from: u64| {
        for n in from..from + 20 {
            write(stage, publisher, &AUDIO, n);
            stage.idle(Duration::from_millis(2));
        }
        stage.idle(Duration::from_millis(50));
        heard.clear();
        received(stage, subscriber, &AUDIO, &mut heard);
        heard.len()
    };

    assert_eq!(count(&mut stage, 0), 20);
    let pause = MediaCommand::ConsumerPause(consumers[0]);
    stage.engine.media(pause).unwrap();
    assert_eq!(count(&mut stage, 20), 0);
    let resume = MediaCommand::ConsumerResume(consumers[0]);
    stage.engine.media(resume).unwrap();
    assert_eq!(count(&mut stage, 40), 20);

    let transport = stage.events.iter().find_map(|event| match event {
        Event::IceSelected {
            transport, remote, ..
        } if *remote == stage.peers[publisher].addr => Some(*transport),
        _ => None,
    });
    let change = Change {
        end: vec![(Mid::from(AUDIO.mid), Flow::Recv)],
        ..Change::default()
    };
    stage.apply(transport.unwrap(), change);
    assert_eq!(count(&mut stage, 60), 0);
}
