"""The nouns of Studio, one file each, with their constraints, indexes and queryset methods."""

from runs.models.artifact import Artifact
from runs.models.compute import ComputeTarget, Node
from runs.models.draft import Draft
from runs.models.experiment import Experiment
from runs.models.label import Property, Tag
from runs.models.log import LogChunk
from runs.models.metric import Metric, MetricBlock, MetricKind, MetricLedger, MetricWriter
from runs.models.run import Run, RunDependency, RunEvent
from runs.models.snapshot import Snapshot, SnapshotUpload

__all__ = [
    "Artifact",
    "ComputeTarget",
    "Draft",
    "Experiment",
    "LogChunk",
    "Metric",
    "MetricBlock",
    "MetricKind",
    "MetricLedger",
    "MetricWriter",
    "Node",
    "Property",
    "Run",
    "RunDependency",
    "RunEvent",
    "Snapshot",
    "SnapshotUpload",
    "Tag",
]
