from . import audit as audit
from . import explain as explain
from . import figures as figures
from . import phantoms as phantoms
from .audit.result import Audit as Audit
from .cohorts.cohort import Cohort as Cohort
from .cohorts.load import load as load
from .errors import EvidenceWarning as EvidenceWarning
from .errors import FileError as FileError
from .errors import InputError as InputError
from .explain.attributions import Attributions as Attributions
from .imaging.preprocess import Preprocessing as Preprocessing
from .models.model import Model as Model
from .models.train import train as train
from .predictions import Predictions as Predictions
from .provenance import Provenance as Provenance
from .widgets.explorer import explore as explore

__version__: str
