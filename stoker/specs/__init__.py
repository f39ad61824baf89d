"""What users write: the documents of the public contract, section 3. The only place where their text becomes types.

service.py the service, parts.py its blocks, fields.py the types of single fields, kinds.py the other documents;
strict_yaml.py and documents.py read text, complaints.py says what is wrong with it; changes.py compares two specs.
"""

from stoker.specs.changes import changes_sessions, diff, refuse_frozen, without_effect
from stoker.specs.documents import Document, Spec, parse_documents, parse_json
from stoker.specs.kinds import PresetSpec, ProjectSpec, Quota, ResourceGroupSpec
from stoker.specs.parts import (
    Autoscaling,
    HealthCheckSpec,
    JobsWake,
    Mount,
    Placement,
    Replicas,
    Resources,
    Rollout,
    Routing,
    Rule,
    SecretRef,
)
from stoker.specs.service import EnvValue, ServiceSpec

__all__ = [
    "Autoscaling",
    "Document",
    "EnvValue",
    "HealthCheckSpec",
    "JobsWake",
    "Mount",
    "Placement",
    "PresetSpec",
    "ProjectSpec",
    "Quota",
    "Replicas",
    "ResourceGroupSpec",
    "Resources",
    "Rollout",
    "Routing",
    "Rule",
    "SecretRef",
    "ServiceSpec",
    "Spec",
    "changes_sessions",
    "diff",
    "parse_documents",
    "parse_json",
    "refuse_frozen",
    "without_effect",
]
