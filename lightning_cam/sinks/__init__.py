"""WHERE a report is kept: the records handed over, the one-method contract, and the sinks that exist."""

from .comet import CometSink
from .folder import FolderSink
from .litlogger import LitLoggerSink
from .memory import MemorySink
from .mlflow import MLflowSink
from .page import Page, Sink, Tile
from .tensorboard import TensorBoardSink
from .wandb import WandbSink
from .worker import Worker

__all__ = [
    "CometSink",
    "FolderSink",
    "LitLoggerSink",
    "MLflowSink",
    "MemorySink",
    "Page",
    "Sink",
    "TensorBoardSink",
    "Tile",
    "WandbSink",
    "Worker",
]
