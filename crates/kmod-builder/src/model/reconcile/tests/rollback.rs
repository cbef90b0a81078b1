use super::*;

#[test]
fn a_channel_follows_a_rollback_that_two_runs_saw_twelve_hours_apart() {
    let mut world = World::new();
    let (old, new) = (target("2.4.4", OLD), target("2.4.4", NEW));
    world.publish(&old, &[]);
    world.publish(&new, &STABLE);
    world.sources = vec![("stable", Ok(OLD))];
    let noted = "2.4.4 6.17.8: note-rollback stable zfs-2.4_stable fedora-43_stable";
    assert_eq!(steps(&world.plan()), [noted]);
    let note = |world: &World, hours: i64, to: &Target| -> BTreeMap<Tag, RollbackNote> {
        let seen = world.now - SignedDuration::from_hours(hours);
        STABLE.map(|tag| (tag.parse().unwrap(), RollbackNote { to: to.clone(), seen })).into()
    };
    for (hours, to, expected) in [
        (1, &old, "2.4.4 6.17.8: up-to-date"),
        (12, &old, "2.4.4 6.17.8: promote stable zfs-2.4_stable fedora-43_stable"),
        (12, &new, noted),
        // A time in the future counts as now; an old note confirms nothing.
        (-100, &old, "2.4.4 6.17.8: up-to-date"),
        (15 * 24, &old, noted),
    ] {
        world.observed.rollbacks = note(&world, hours, to);
        assert_eq!(steps(&world.plan()), [expected], "{hours} {to}");
    }
    // The mirror was outdated.
    world.sources = vec![("stable", Ok(NEW))];
    let mut noted = proven(&new);
    noted.own.as_mut().unwrap().noted = STABLE.map(|tag| tag.parse().unwrap()).into();
    world.set(&new, noted);
    assert_eq!(steps(&world.plan()), ["2.4.4 6.17.9: clear-rollback stable zfs-2.4_stable fedora-43_stable"]);
}
