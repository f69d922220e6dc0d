import pytest

from support import Server


@pytest.fixture
def server():
    """The server that may be ended. It runs again at the end, whatever a test did to it."""
    server = Server()
    yield server
    server.start()
