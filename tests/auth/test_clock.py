import pytest

from auth.clock import SteadyClock


@pytest.mark.security("TT21")
def test_a_clock_that_is_moved() -> None:
    wall, passed = 1_790_000_000.0, 5.0
    clock = SteadyClock(lambda: wall, lambda: passed)
    assert clock() == wall
    wall, passed = wall + 60, passed + 60
    assert clock() == 1_790_000_060
    wall -= 600  # set back: time goes on as it did
    assert clock() == 1_790_000_060
    wall, passed = wall + 60, passed + 60
    assert clock() == 1_790_000_120
    wall += 1200  # set forward: rights end earlier
    assert clock() == 1_790_000_720
    wall -= 600  # and set right again
    assert clock() == 1_790_000_120
