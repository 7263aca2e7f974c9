"""Checks that somebody else answers (prometheus, webhook): where they may go, how they are asked, who asks them.

They are asked outside any transaction. What is not a clear yes is "no".
"""

from backfleet.rollouts.outside.asking import Asker
from backfleet.rollouts.outside.destinations import Destinations
from backfleet.rollouts.outside.faults import faults_of
from backfleet.rollouts.outside.questions import read_secret

__all__ = ["Asker", "Destinations", "faults_of", "read_secret"]
