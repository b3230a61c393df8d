"""The one pydantic configuration of every spec: exact types, finite numbers, no unknown fields."""

from pydantic import ConfigDict

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)
