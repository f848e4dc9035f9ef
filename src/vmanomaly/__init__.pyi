from vmanomaly.api import Detection as Detection
from vmanomaly.api import Detector as Detector
from vmanomaly.api import Tuning as Tuning
from vmanomaly.api import detect as detect
from vmanomaly.api import read as read
from vmanomaly.api import tune as tune

__version__: str
