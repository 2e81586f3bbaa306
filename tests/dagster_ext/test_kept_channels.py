"""Calls to a code server share a channel until one of them fails; a channel is closed when its last user has left."""

import gc
from contextlib import contextmanager

import pytest

from emm_pipeline.dagster_ext.kept_channels import KeptChannels


class Channels:
    """Opens channels, which are numbers, and notes which are closed."""

    def __init__(self):
        self.opened, self.closed = 0, []


class Client:
    """Dagster's client, as far as channels are concerned: its context manager refers to it."""

    def __init__(self, channels):
        self.channels = channels

    @contextmanager
    def open(self):
        self.channels.opened += 1
        number = self.channels.opened
        try:
            yield number
        finally:
            self.channels.closed.append(number)


@pytest.fixture
def channels():
    return Channels()


@pytest.fixture
def call():
    kept = KeptChannels()
    return lambda client: kept.channel(client, client.open)


def test_calls_of_a_client_use_one_channel_and_other_clients_have_their_own(call, channels):
    client, other = Client(channels), Client(channels)
    used = []
    for each in (client, client, other):
        with call(each) as channel:
            used.append(channel)
    assert used == [1, 1, 2]
    assert channels.closed == []


def test_after_a_failed_call_the_next_one_opens_a_channel(call, channels):
    client = Client(channels)
    with pytest.raises(ConnectionError), call(client):
        raise ConnectionError
    with call(client) as channel:
        assert channel == 2
    gc.collect()
    assert channels.closed == [1]


def test_a_failed_call_does_not_close_the_channel_of_a_call_in_progress(call, channels):
    client = Client(channels)
    with call(client) as in_progress:
        with pytest.raises(TimeoutError), call(client) as failed:
            raise TimeoutError
        gc.collect()
        assert in_progress == failed == 1
        assert channels.closed == []
    gc.collect()
    assert channels.closed == [1]


def test_the_channel_of_a_client_that_no_longer_exists_is_closed(call, channels):
    client = Client(channels)
    with call(client):
        pass
    del client
    gc.collect()
    assert channels.closed == [1]
