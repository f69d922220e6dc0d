"""Who may read a partition: owners by their level, and readers without one."""

from azure.eventhub import EventData

from support import Reader, producer, tail

HUB = "epochs"


def say(text, partition):
    with producer(HUB) as client:
        client.send_batch([EventData(text)], partition_id=partition)


def stolen(reader):
    reader.wait("losing the partition", lambda: reader.errors)
    return "amqp:link:stolen" in str(reader.errors[0]) or "amqp:link:stolen" in repr(reader.errors[0])


def test_a_higher_owner_takes_the_partition_and_a_lower_one_does_not():
    start = tail(HUB, "0")
    say("first", "0")
    with Reader(HUB, "0", start, owner_level=5) as owner:
        owner.wait_for(1)
        with Reader(HUB, "0", start, owner_level=4) as lower:
            assert stolen(lower), lower.errors
            assert not lower.events
        say("second", "0")
        assert len(owner.wait_for(2)) == 2
        with Reader(HUB, "0", start, owner_level=6) as higher:
            higher.wait_for(2)
            assert stolen(owner), owner.errors
            say("third", "0")
            assert [event.body_as_str() for event in higher.wait_for(3)] == ["first", "second", "third"]
        assert len(owner.events) == 2


def test_an_owner_of_the_same_level_takes_the_partition():
    start = tail(HUB, "1")
    say("x", "1")
    with Reader(HUB, "1", start, owner_level=0) as first:
        first.wait_for(1)
        with Reader(HUB, "1", start, owner_level=0) as second:
            second.wait_for(1)
            assert stolen(first), first.errors


def test_an_owner_ends_readers_without_a_level_and_keeps_them_out():
    start = tail(HUB, "2")
    say("x", "2")
    with Reader(HUB, "2", start) as plain, Reader(HUB, "2", start) as another:
        plain.wait_for(1)
        another.wait_for(1)
        with Reader(HUB, "2", start, owner_level=0) as owner:
            owner.wait_for(1)
            assert stolen(plain), plain.errors
            assert stolen(another), another.errors
            with Reader(HUB, "2", start) as late:
                assert stolen(late), late.errors
                assert not late.events
    # When the owner is gone, everybody may read again.
    with Reader(HUB, "2", start) as after:
        after.wait_for(1)


def test_owners_of_other_groups_and_partitions_are_not_concerned():
    for partition in ("0", "3"):
        say("x", partition)
    with Reader(HUB, "3", owner_level=1) as one, Reader(HUB, "0", owner_level=1) as other:
        one.wait_for(1)
        other.wait_for(1)
        assert not one.errors and not other.errors


def test_five_readers_without_a_level_and_no_more():
    say("x", "3")
    readers = [Reader(HUB, "3") for _ in range(5)]
    try:
        for reader in readers:
            reader.__enter__()
            reader.wait_for(1)
        # With tries left this client would go on trying and say nothing.
        with Reader(HUB, "3", client_options={"retry_total": 0}) as sixth:
            sixth.wait("a refusal", lambda: sixth.errors)
            assert "amqp:resource-limit-exceeded" in str(sixth.errors[0]), sixth.errors
    finally:
        for reader in readers:
            reader.__exit__()
