from .attribution_maps import attribution_grid as attribution_grid
from .embedded import read_provenance as read_provenance
from .figure import Figure as Figure
from .figure import save as save
from .forest_plot import forest as forest
from .roc_curve import roc as roc
from .style import inches as inches
