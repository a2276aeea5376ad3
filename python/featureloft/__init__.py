"""Feature Loft from Python: search, publish, write and read features, and train on exact, reproducible data.

import featureloft as fl
store = fl.connect()
store.online(["airport_weather:temp"], origin=["JFK", "LGA"]).to_pandas()
"""

from .definitions import Entity, Feature, Service, View
from .errors import LoftError, Problem
from .jobs import Job
from .online import OnlineResult
from .store import Hit, Hits, Plan, Published, Store, WriteResult, connect
from .stored import Dataset, StoredFile, TrainingSet, TrainingSetPlan

__version__ = "0.1.0"
__all__ = [
    "Dataset",
    "Entity",
    "Feature",
    "Hit",
    "Hits",
    "Job",
    "LoftError",
    "OnlineResult",
    "Plan",
    "Problem",
    "Published",
    "Service",
    "Store",
    "StoredFile",
    "TrainingSet",
    "TrainingSetPlan",
    "View",
    "WriteResult",
    "connect",
]
