//! Full ICE: an engine that calls another engine, and a peer that is as full as itself.

mod support;

use std::time::Duration;

use bytes::Bytes;
use parley_sfu::Transport;
use parley_sfu::command::{Change, ChannelOptions, Hear, RemoteTransport, Setup};
use parley_sfu::config::EngineConfig;
use parley_sfu::event::{Event, Reason, TransportState};
use parley_sfu::spec::{DataSpec, GroupId};
use support::{Peer, Stage, config};

/// What one engine's description says to another's.
fn said(transport: &Transport, setup: Setup, controls: bool) -> RemoteTransport {
    RemoteTransport {
        ufrag: transport.ufrag.clone(),
        pwd: transport.pwd.clone(),
        fingerprint: transport.fingerprint.to_string(),
        setup,
        candidates: transport.candidates.to_vec(),
        begins_anew: false,
        controls,
    }
}

fn change(remote: RemoteTransport) -> Change {
    Change {
        remote: Some(remote),
        data: Some(DataSpec {
            port: 5000,
            max_message_size: 65_536,
            streams: 1024,
        }),
        ..Change::default()
    }
}

/// Two engines, the first with full ICE and the second lite; connected.
fn called(fast: EngineConfig) -> (Stage, Transport, Stage, Transport) {
    let (mut near, mut far) = (Stage::with(fast), Stage::new());
    let caller = near.engine.create_full_transport(GroupId(1)).unwrap();
    let callee = far.engine.create_transport(GroupId(1)).unwrap();
    far.apply(callee.id, change(said(&caller, Setup::Active, true)));
    near.apply(caller.id, change(said(&callee, Setup::Passive, false)));
    near.state(caller.id, TransportState::Connected);
    far.state(callee.id, TransportState::Connected);
    near.events.clear();
    (near, caller, far, callee)
}

#[test]
fn an_engine_calls_a_lite_one_and_data_flows_both_ways() {
    let (mut near, caller, mut far, _) = called(config());

    let ours = near
        .engine
        .open_channel(
            caller.id,
            ChannelOptions {
                label: "chat".into(),
                ..ChannelOptions::default()
            },
        )
        .unwrap();
    ours.listen(Hear::Each);
    ours.send(Bytes::from_static(b"hello"), true).unwrap();
    let theirs = far.channel_open();
    theirs.listen(Hear::Each);

    assert_eq!(far.message(&theirs), (b"hello".to_vec(), true));
    theirs.send(Bytes::from_static(b"yes"), true).unwrap();
    assert_eq!(near.message(&ours), (b"yes".to_vec(), true));
    let stream = near.until("open channel", |stage| {
        stage.take(|event| match event {
            Event::ChannelOpen { options, .. } => options.stream,
            _ => None,
        })
    });
    assert_eq!(
        stream % 2,
        0,
        "RFC 8832 §6: the DTLS client has the even ones"
    );
}

#[test]
fn a_path_without_traffic_stays_and_one_whose_peer_is_gone_fails() {
    let (mut near, caller, far, callee) = called(EngineConfig {
        disconnected: Duration::from_millis(4000),
        failed: Duration::from_millis(5000),
        ..config()
    });
    // The agent checks a path that stands every three seconds and less.
    near.idle(Duration::from_millis(4500));
    assert!(
        near.take(|event| matches!(event, Event::TransportState { .. }).then_some(()))
            .is_none()
    );

    far.engine.close_transport(callee.id).unwrap();

    let reason = near.until("end", |stage| {
        stage.take(|event| match event {
            Event::TransportState {
                transport,
                state: TransportState::Closed,
                reason,
            } if *transport == caller.id => *reason,
            _ => None,
        })
    });
    assert_eq!(reason, Reason::Peer);
}

#[test]
fn nobody_at_the_candidates_is_a_failure_in_time() {
    let mut near = Stage::with(EngineConfig {
        disconnected: Duration::from_millis(200),
        failed: Duration::from_millis(500),
        ..config()
    });
    let caller = near.engine.create_full_transport(GroupId(1)).unwrap();
    let mut remote = said(&caller, Setup::Passive, false);
    remote.candidates = vec!["candidate:1 1 udp 2130706431 127.0.0.1 9 typ host".into()];

    near.apply(caller.id, change(remote));

    near.state(caller.id, TransportState::Failed);
}

#[test]
fn a_full_peer_that_claims_the_same_role_is_met_all_the_same() {
    for controls in [false, true] {
        let mut stage = Stage::new();
        let transport = stage.engine.create_full_transport(GroupId(1)).unwrap();
        let mut peer = Peer::new();
        let mut remote = peer.remote();
        remote.controls = controls;
        remote.candidates = vec![format!(
            "candidate:1 1 udp 2130706431 127.0.0.1 {} typ host",
            peer.addr.port()
        )];
        stage.apply(transport.id, change(remote));
        // It controls, whatever was said of it.
        peer.start(&transport, true);
        stage.peers.push(peer);

        stage.state(transport.id, TransportState::Connected);
        stage.until("connection at the peer", |stage| {
            stage.peers[0].take(|event| matches!(event, str0m::Event::Connected).then_some(()))
        });
    }
}

#[test]
fn of_two_calls_to_one_address_the_first_stands_and_the_second_is_refused() {
    let (mut near, first, far, _) = called(config());
    let caller = near.engine.create_full_transport(GroupId(1)).unwrap();
    let callee = far.engine.create_transport(GroupId(1)).unwrap();

    let call = change(said(&callee, Setup::Passive, false));
    let applied = near.engine.apply(caller.id, call.clone()).unwrap();

    let refused = near.done(applied.request).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("the peer's address is another connection's, or ours"),
        "{refused}"
    );
    near.engine.close_transport(first.id).unwrap();
    near.state(first.id, TransportState::Closed);
    near.apply(caller.id, call);
}

#[test]
fn an_engine_does_not_call_itself() {
    let mut stage = Stage::new();
    let caller = stage.engine.create_full_transport(GroupId(1)).unwrap();
    let callee = stage.engine.create_transport(GroupId(1)).unwrap();

    let call = change(said(&callee, Setup::Passive, false));
    let applied = stage.engine.apply(caller.id, call).unwrap();

    let refused = stage.done(applied.request).unwrap_err();
    assert!(refused.to_string().contains("or ours"), "{refused}");
}

#[test]
fn a_lite_transport_opens_no_handshake() {
    let mut stage = Stage::new();
    let transport = stage.engine.create_transport(GroupId(1)).unwrap();

    let call = change(said(&transport, Setup::Passive, true));
    let applied = stage.engine.apply(transport.id, call).unwrap();

    let refused = stage.done(applied.request).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("is the DTLS server in every flow"),
        "{refused}"
    );
}
