"""Checks that somebody else answers (prometheus, webhook): how they are asked, what answers mean, who asks.

They are asked outside any transaction. What is not a clear yes is "no".
"""

from backfleet.rollouts.outside.asking import Asker
from backfleet.rollouts.outside.faults import faults_of

__all__ = ["Asker", "faults_of"]
