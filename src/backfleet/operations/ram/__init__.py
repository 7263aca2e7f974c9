"""RAM 2015-05-01: users, their access keys, and the policies attached to them."""

from backfleet.operations.ram import keys, policies, users

__all__ = ["keys", "policies", "users"]
