import pytest

from tests.tuning.trials import trial
from trainbench.tuning import rounds

A, B, C, D = ((("a", value),) for value in range(1, 5))


def run(points, statuses=(), count=4, stop_at=None):
    asked = []

    def measure(point, turn):
        asked.append((turn, point))
        if len(asked) == stop_at:
            raise KeyboardInterrupt
        return trial(point, problem="broke" if (turn, point) in statuses else "")

    return asked, lambda: rounds.run(points, measure, lambda turn, last_s: turn <= count)


@pytest.mark.parametrize("points", [[A], [A, B], [A, B, C], [A, B, C, D]])
def test_a_steady_drift_cancels_over_two_rounds(points):
    for point in points:
        distances = [
            order.index(point) - order.index(())
            for order in (rounds.order(points, 0), rounds.order(points, 1))
        ]
        assert sum(distances) == 0
    assert abs(rounds.order(points, 0).index(points[0]) - rounds.order(points, 0).index(())) == 1


def test_each_round_has_the_default_and_all_points():
    asked, go = run([A, B])
    done = go()
    assert len(done) == 4
    assert all(set(one) == {(), A, B} for one in done)
    assert [point for turn, point in asked if turn == 1] == [B, (), A]
    assert [point for turn, point in asked if turn == 2] == [A, (), B]


def test_a_point_that_fails_is_in_no_later_round():
    _, go = run([A, B], statuses={(2, A)})
    done = go()
    assert [A in one for one in done] == [True, True, False, False]
    assert all(B in one for one in done)


def test_nothing_left_to_compare_ends_the_rounds():
    _, go = run([A], statuses={(2, A)})
    assert len(go()) == 2
    _, go = run([A], statuses={(1, ())})
    assert len(go()) == 1


def test_a_wish_to_stop_leaves_the_complete_rounds():
    _, go = run([A, B], stop_at=8)
    with pytest.raises(rounds.Stopped) as stopped:
        go()
    assert len(stopped.value.done) == 2


def test_there_are_as_many_rounds_as_the_time_has_room_for():
    assert rounds.possible(60.0, 250.0) == 4
    assert rounds.possible(60.0, -5.0) == 0
    assert rounds.possible(0.001, 1e6) == rounds.possible(0.0, 1.0) == rounds.MOST
