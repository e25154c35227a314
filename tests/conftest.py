"""What all tests without a cluster share."""

from hypothesis import settings

# A busy machine makes single examples slow; that is no property of the code.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")
