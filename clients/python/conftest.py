import pytest

from support import Server


@pytest.fixture
def server():
    """The server, which runs again at the end whatever a test did to it."""
    server = Server()
    yield server
    server.start()
