"""Check whether a request to move the arm is new, since DDS delivers old requests after an outage.

The arm must not move for a request that its sender has given up. The age is computed from the
clocks of sender and reader, which must agree within `OLDEST_S`. There is no usual delay to compare
with, because the first request of a sender can be the late one. Requests that stop the arm have no
age limit. Times are given by the caller [ns].
"""

from __future__ import annotations

OLDEST_S = 1.0  # largest age of a request that may move the arm
REMEDY = (
    "Look at the arm, then ask again; if that is refused as well, synchronise the clocks of both"
    " computers (NTP), or ask on this computer"
)


def staleness(source_ns: int, now_ns: int) -> str:
    """Describe why the age of a request forbids that it moves the arm.

    Args:
        source_ns: Time at which it was sent, by the clock of its sender [ns]; 0: not known.
        now_ns: Present time by this computer's clock [ns].

    Returns:
        Text for the sender; empty if the request is at most `OLDEST_S` old, or at most so far in
        the future. An unknown time counts as too old.
    """
    if source_ns <= 0:
        return (
            "the middleware does not say when this was asked: use one with source timestamps, such"
            " as rmw_fastrtps_cpp"
        )
    age_s = 1e-9 * (now_ns - source_ns)
    if age_s > OLDEST_S:
        return (
            f"asked {age_s:.1f} s ago by the clock of its source, at most {OLDEST_S:g} s: it waited"
            f" in the network or in this process, or that clock is behind. {REMEDY}"
        )
    if age_s < -OLDEST_S:
        ahead = f"asked {-age_s:.1f} s in the future by the clock of its source"
        return f"{ahead}: nobody can tell whether it waited. {REMEDY}"
    return ""
