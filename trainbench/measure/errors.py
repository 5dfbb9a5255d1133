"""The error of a measurement that cannot be trusted."""


class MeasurementError(Exception):
    """A figure that cannot be right (time running backwards, a rate above the physical limit, work inside
    the timed window that was not the step's).

    Refusing is deliberate: a wrong rate looks exactly like a right one, so none is given.
    """
