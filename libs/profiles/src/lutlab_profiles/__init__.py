"""Device profiles: what a board model is, as data that the builder, the agents and the boards share."""

from lutlab_profiles.profile import DEFAULT_PROFILE, DeviceProfile, UnknownProfile, get, load, names

__all__ = ["DEFAULT_PROFILE", "DeviceProfile", "UnknownProfile", "get", "load", "names"]
