"""What counts as trouble of the infrastructure, for which no image is ever failed."""

from __future__ import annotations

from shared.errors import ObjectStoreDenied, Unavailable

#: Refused credentials count too: an operator can mend them while the job waits.
INFRASTRUCTURE = (Unavailable, ObjectStoreDenied)
