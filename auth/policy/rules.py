"""The codes by which audit, answers and tests name why a request ended as it did. They are stable:
a new reason gets a new code."""

from enum import StrEnum


class Rule(StrEnum):
    """Why policy decided as it did. `Consent` gives its own codes, which begin with `consent.`."""

    ALLOWED = "allow.group"
    """Grants of one projection permit all that was asked for, or with `clip` a part of it."""
    PUBLIC = "allow.public"
    """The same, by a grant for everybody."""
    ANONYMOUS = "credential.missing"
    """Nothing here is public, and no credential was given. Says nothing of what there is."""
    NOT_VISIBLE = "object.not_visible"
    """No dataset holds such an object, or no grant in force lets this caller know of it."""
    FORMAT = "format.not_granted"
    """Grants let the caller know of the object, but none gives it in this format."""
    CLASS = "class.not_granted"
    """None gives this class of data: a header is not records."""
    REGION = "region.not_granted"
    """No group of grants has all regions asked for, and none may send a part."""
    FIELDS = "fields.not_granted"
    """The regions are granted, but not all fields or tags asked for."""
    PROJECTION = "projection.unsupported"
    """Permitted, but only in a form that needs records rewritten, which is not served yet."""
    DECISION_POINT = "decision_point.denied"
    """The external decision point says no."""
    OBLIGATION = "decision_point.obligation"
    """It says yes, but with a condition that is not understood."""
    DECISION_POINT_REGION = "decision_point.region"
    """It permits less than the regions asked for."""
