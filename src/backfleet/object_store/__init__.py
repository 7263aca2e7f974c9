"""An object store that speaks S3 (AWS, OSS, MinIO): objects named by the SHA-256 of their bytes.

Owns no table. The library that makes the calls is loaded with the first of them.

- `Place` says where a bucket is and with which keys, as the settings name them.
- `Bucket` writes, reads, verifies and lists; `Trouble`, `Missing` and `WrongBytes` are what it may meet.
- `check_address` is for settings: it says what is wrong with an `s3://` address.
"""

from backfleet.object_store._bucket import Bucket
from backfleet.object_store._place import BadPlace, Place, check_address
from backfleet.object_store._troubles import Missing, Trouble, WrongBytes

__all__ = ["BadPlace", "Bucket", "Missing", "Place", "Trouble", "WrongBytes", "check_address"]
