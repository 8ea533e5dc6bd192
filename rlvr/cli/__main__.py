"""`python -m rlvr.cli`: the `rlvr` command without an installed script; `accelerate launch -m rlvr.cli probe ...`."""

from rlvr.cli.main import main
from rlvr.training.processes import leave

leave(main())
