"""Honest labels inside the file: what was done, by which software, and that a model
took part.

XMP `Iptc4xmpExt:DigitalSourceType` takes a term of the IPTC's vocabulary;
`AISystemUsed` and `AISystemVersionUsed` are of its standard 2025.1; `TC260:AIGC` is the
field that GB 45438-2025 prescribes; PNG text says the same for people.
"""

from __future__ import annotations

import json
from xml.sax.saxutils import escape

from gpu_worker.codec import captions
from gpu_worker.codec.png import XMP_KEYWORD
from gpu_worker.photo import Captions
from shared import __version__
from shared.workflows import ResolvedStep, ResolvedWorkflow

SOFTWARE = f"Darkroom {__version__}"
DESCRIPTION = "AI-assisted restoration of a photograph"
UNTOUCHED = "A photograph that was looked at and left as it is"
_SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
# These steps put in what the photo did not hold (colours, facial detail), by a
# generative model.
_INVENTING = frozenset({"colorize", "faces"})


def texts(
    task_id: str,
    workflow: ResolvedWorkflow,
    producer: str = "Darkroom",
    words: Captions = (),
) -> dict[str, str]:
    """PNG text of a result, keyword → value, with the XMP packet. `producer`: the
    organisation that answers for the result. `words`: the photo's captions.
    """
    ref = workflow.ref
    return {
        "Software": SOFTWARE,
        "Description": DESCRIPTION if workflow.steps else UNTOUCHED,
        "Task": task_id,
        "Workflow": f"{ref.name} {ref.version}",
        "Signature": ref.signature,
        XMP_KEYWORD: xmp(task_id, workflow, producer, words),
    }


def _invents(step: ResolvedStep) -> bool:
    is_drawn = step.kind == "repair" and step.model is not None
    return is_drawn or step.kind in _INVENTING


def source_type(workflow: ResolvedWorkflow) -> str:
    """The IPTC term: `algorithmicallyEnhanced` where the photo's own content was
    corrected or enlarged, `compositeWithTrainedAlgorithmicMedia` where a model also
    added content. Never `trainedAlgorithmicMedia`, which says that the whole picture
    was generated.
    """
    if any(_invents(step) for step in workflow.steps):
        return _SOURCE_TYPES + "compositeWithTrainedAlgorithmicMedia"
    return _SOURCE_TYPES + "algorithmicallyEnhanced"


def xmp(
    task_id: str,
    workflow: ResolvedWorkflow,
    producer: str,
    words: Captions = (),
) -> str:
    """The XMP packet, read-only, without padding: what was done, and the photo's own
    captions.
    """
    aigc = escape(_aigc(task_id, producer), {'"': "&quot;"})
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
        ' <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
        '  <rdf:Description rdf:about=""\n'
        f"{_namespaces(words)}>\n"
        f"   <xmp:CreatorTool>{escape(SOFTWARE)}</xmp:CreatorTool>\n"
        f"   <Iptc4xmpExt:DigitalSourceType>{source_type(workflow)}</Iptc4xmpExt:DigitalSourceType>\n"
        f"   <Iptc4xmpExt:AISystemUsed>{escape(_system(workflow))}</Iptc4xmpExt:AISystemUsed>\n"
        f"   <Iptc4xmpExt:AISystemVersionUsed>{__version__}</Iptc4xmpExt:AISystemVersionUsed>\n"
        f"   <TC260:AIGC>{aigc}</TC260:AIGC>\n"
        f"{captions.xml(words)}"
        "  </rdf:Description>\n"
        " </rdf:RDF>\n"
        "</x:xmpmeta>\n"
        '<?xpacket end="r"?>'
    )


def _namespaces(words: Captions) -> str:
    named = {
        "xmp": "http://ns.adobe.com/xap/1.0/",
        "Iptc4xmpExt": captions.NAMESPACES["Iptc4xmpExt"],
        "TC260": "http://www.tc260.org.cn/ns/AIGC/1.0/",
    }
    for prefix in captions.prefixes(words):
        named[prefix] = captions.NAMESPACES[prefix]
    lines = [f'    xmlns:{prefix}="{uri}"' for prefix, uri in named.items()]
    return "\n".join(lines)


def _system(workflow: ResolvedWorkflow) -> str:
    """Software and networks, as IPTC 2025.1 asks for them."""
    names = dict.fromkeys(model.name for model in workflow.models)
    return f"Darkroom: {', '.join(names)}" if names else "Darkroom"


def _aigc(task_id: str, producer: str) -> str:
    """The JSON of GB 45438-2025, appendix E. Label 1: generated or synthesised. The
    empty fields are filled by those who publish the picture.
    """
    fields = {
        "Label": "1",
        "ContentProducer": producer,
        "ProduceID": task_id,
        "ReservedCode1": "",
        "ContentPropagator": "",
        "PropagateID": "",
        "ReservedCode2": "",
    }
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
