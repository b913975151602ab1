//! Who makes room for whom.

use super::*;

fn source(text: &str) -> Source {
    Source::of(text.parse().unwrap())
}

/// Enters; panics where there is no place.
fn enter(room: &Arc<WaitingRoom>, from: &str, now: Instant) -> Seat {
    room.enter(source(from), true, now).unwrap()
}

fn evicted(seats: &[Seat]) -> Vec<usize> {
    seats.iter().enumerate().filter(|(_, seat)| seat.watch().is_evicted()).map(|(number, _)| number).collect()
}

fn room(places: usize, of_source: usize) -> Arc<WaitingRoom> {
    Arc::new(WaitingRoom::new(places, of_source))
}

/// What is remembered adds up.
fn assert_sound(room: &WaitingRoom) {
    let state = room.lock();
    let seats: usize = state.networks.values().flat_map(|n| n.holders.values()).map(|holder| holder.seats.len()).sum();
    assert_eq!(seats, state.seats.len());
    assert_eq!(state.order.len(), state.networks.len());
    for (weight, neighbourhood) in &state.order {
        let network = &state.networks[neighbourhood];
        assert_eq!(network.weight, *weight);
        assert_eq!(network.holders.values().map(|holder| holder.weight).sum::<u64>(), *weight);
        assert!(network.holders.values().all(|holder| !holder.seats.is_empty()));
    }
}

#[test]
fn whoever_holds_most_makes_room_and_the_newcomer_never_does() {
    let (room, now) = (room(6, 5), Instant::now());
    let greedy: Vec<Seat> = (0..5).map(|_| enter(&room, "192.0.2.1", now)).collect();
    let quiet = enter(&room, "198.51.100.1", now);
    let newcomers: Vec<Seat> = (0..3).map(|n| enter(&room, &format!("203.0.113.{n}"), now)).collect();
    assert_eq!(evicted(&greedy), [0, 1, 2], "the oldest first");
    assert!(!quiet.watch().is_evicted());
    assert!(evicted(&newcomers).is_empty());
    assert_sound(&room);
    drop((greedy, quiet, newcomers));
    assert_sound(&room);
    let state = room.lock();
    assert!(state.seats.is_empty() && state.networks.is_empty() && state.leaving == 0);
}

#[test]
fn a_network_counts_as_one_also_with_many_addresses() {
    let (room, now) = (room(20, 10), Instant::now());
    // 18 addresses of one network, and a partner whose one address has two connections.
    let swarm: Vec<Seat> = (0..18).map(|n| enter(&room, &format!("192.0.2.{n}"), now)).collect();
    let partner = [enter(&room, "198.51.100.1", now), enter(&room, "198.51.100.1", now)];
    let newcomers: Vec<Seat> = (0..5).map(|n| enter(&room, &format!("203.0.{n}.1"), now)).collect();
    assert_eq!(evicted(&swarm), [0, 1, 2, 3, 4]);
    assert!(evicted(&partner).is_empty() && evicted(&newcomers).is_empty());
    let wide: Vec<Seat> = (0..15).map(|n| enter(&room, &format!("2001:db8:1:{n}::1"), now)).collect();
    assert!(evicted(&partner).is_empty() && evicted(&newcomers).is_empty());
    let more = enter(&room, "2001:db8:1:99::1", now);
    assert!(!more.watch().is_evicted() && evicted(&partner).is_empty());
    drop((wide, swarm));
    assert_sound(&room);
}

#[test]
fn who_has_shown_more_stays() {
    let (room, now) = (room(4, 4), Instant::now());
    let seats: Vec<Seat> = (0..4).map(|_| enter(&room, "192.0.2.1", now)).collect();
    for (seat, shown) in seats.iter().zip([Shown::Attempt, Shown::Algorithms, Shown::Nothing, Shown::Version]) {
        seat.watch().shows(shown);
    }
    let _newcomers: Vec<Seat> = (0..3).map(|n| enter(&room, &format!("203.0.{n}.1"), now)).collect();
    assert_eq!(evicted(&seats), [1, 2, 3]);
    assert_eq!(seats[2].watch().told.why.get(), Some(&Evicted::Crowded(Shown::Nothing)));
    assert_eq!(seats[1].watch().told.why.get(), Some(&Evicted::Crowded(Shown::Algorithms)));
    seats[0].watch().shows(Shown::Nothing);
    assert_eq!(room.lock().seats[&0].shown, Shown::Attempt, "nothing is taken back");
    assert_sound(&room);
}

/// The newcomer's own weight turns nobody out beside it.
#[test]
fn who_comes_again_and_again_does_not_push_out_its_neighbours() {
    let (room, now) = (room(3, 2), Instant::now());
    let noisy = source("192.0.2.66");
    (0..5).for_each(|_| room.mark(noisy, now));
    let neighbour = enter(&room, "192.0.2.1", now);
    let others = [enter(&room, "198.51.100.1", now), enter(&room, "203.0.113.1", now)];
    assert_eq!(room.enter(noisy, true, now).map(drop), Err(NoPlace::Crowded));
    assert!(!neighbour.watch().is_evicted() && evicted(&others).is_empty());
    drop(others);
    let noise = enter(&room, "192.0.2.66", now);
    let _more = [enter(&room, "198.51.100.1", now), enter(&room, "203.0.113.1", now)];
    assert!(noise.watch().is_evicted() && !neighbour.watch().is_evicted());
    assert_sound(&room);
}

/// Each address of a different network: nobody holds more than one place. Whoever was dropped before goes first.
#[test]
fn a_swarm_from_everywhere_that_comes_again_makes_room_for_those_who_come_once() {
    let (room, start) = (room(100, 10), Instant::now());
    let mut lost = 0;
    let mut swarm: Vec<Option<Seat>> = (0..200).map(|_| None).collect();
    for round in 0..20u32 {
        let now = start + Duration::from_millis(100) * round;
        // Before the swarm has come twice nobody can know it.
        let client = (round > 1).then(|| enter(&room, &format!("100.{round}.0.1"), now));
        for (n, place) in swarm.iter_mut().enumerate() {
            if place.as_ref().is_none_or(|seat| seat.watch().is_evicted()) {
                *place = None;
                *place = room.enter(source(&format!("10.0.{n}.1")), true, now).ok();
            }
        }
        lost += usize::from(client.is_some_and(|seat| seat.watch().is_evicted()));
    }
    assert_eq!(lost, 0);
    assert_sound(&room);
}

#[test]
fn an_address_with_all_its_places_gets_one_when_another_went_stale() {
    let (room, start) = (room(100, 3), Instant::now());
    let seats: Vec<Seat> = (0..3).map(|_| enter(&room, "192.0.2.1", start)).collect();
    seats[0].watch().shows(Shown::Version);
    let soon = start + STALE / 2;
    assert_eq!(room.enter(source("192.0.2.1"), true, soon).map(drop), Err(NoPlace::OfSource));
    assert!(room.enter(source("192.0.2.2"), true, soon).is_ok(), "others are not touched");
    let later = start + STALE * 2;
    let newcomer = enter(&room, "192.0.2.1", later);
    assert_eq!(evicted(&seats), [1], "the silent one, the oldest of these");
    assert!(!newcomer.watch().is_evicted());
}

#[test]
fn places_of_a_balancer_become_their_clients() {
    let (room, now) = (room(10, 2), Instant::now());
    let balancer = source("10.0.0.1");
    let through: Vec<Seat> = (0..5).map(|_| room.enter(balancer, false, now).unwrap()).collect();
    let client = source("192.0.2.1");
    assert_eq!(room.settle(&through[0], client, now), Ok(()));
    assert_eq!(room.settle(&through[1], client, now), Ok(()));
    assert_eq!(room.settle(&through[2], client, now), Err(NoPlace::OfSource));
    assert_sound(&room);
    room.evict(client, now);
    assert_eq!(evicted(&through), [0, 1]);
    room.evict(balancer, now);
    assert_eq!(evicted(&through), [0, 1], "a balancer's is nobody's yet");
    drop(through);
    assert_sound(&room);
}

/// Connections that lost their places are still there for a moment. They are bounded too.
#[test]
fn so_many_are_dropped_and_no_more_before_they_are_gone() {
    let (room, now) = (room(4, 1), Instant::now());
    let mut seats: Vec<Seat> = (0..20).map(|n| enter(&room, &format!("192.0.{n}.1"), now)).collect();
    assert_eq!(evicted(&seats).len(), 16);
    assert_eq!(room.enter(source("203.0.113.1"), true, now).map(drop), Err(NoPlace::AtAll));
    seats.retain(|seat| !seat.watch().is_evicted());
    assert!(room.enter(source("203.0.113.1"), true, now).is_ok());
}
