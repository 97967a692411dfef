"""A packet of XMP: RDF in XML.

Format: Adobe's "XMP Specification Part 1: Data Model, Serialization, and Core Properties" (ISO 16684-1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from xml.dom import minidom
from xml.parsers.expat import ExpatError

_X = "adobe:ns:meta/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_XMLNS = "http://www.w3.org/2000/xmlns/"

_EMPTY = f'<x:xmpmeta xmlns:x="{_X}"><rdf:RDF xmlns:rdf="{_RDF}"/></x:xmpmeta>'.encode()

#: Elements in each other. RDF of photos has about ten.
_MOST_LEVELS = 50

#: Marks a packet for programs that search files for it without knowing their format.
_BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'.encode()
_END = b'\n<?xpacket end="w"?>'


class XmpUnreadable(ValueError):
    """This is not a packet of XMP."""


class Packet:
    """The properties of a packet, by namespace and name."""

    def __init__(self, data: bytes = _EMPTY) -> None:
        """Parse a packet. Raises XmpUnreadable."""
        data = data.strip(b"\0 \t\r\n")
        # No packet declares entities, which could stand for gigabytes; and UTF-16 would hide them.
        if b"<!DOCTYPE" in data or b"\0" in data:
            raise XmpUnreadable
        try:
            self._document = minidom.parseString(data)
        except (ExpatError, ValueError) as exc:
            raise XmpUnreadable from exc
        self._root = _children(self._document)[0]
        if _is_deep(self._root):
            raise XmpUnreadable
        roots = self._document.getElementsByTagNameNS(_RDF, "RDF")
        if not roots:
            raise XmpUnreadable
        self._rdf = roots[0]

    def get(self, namespace: str, name: str) -> str | None:
        """Return the text of a simple property."""
        for description in self._descriptions():
            if description.hasAttributeNS(namespace, name):
                return description.getAttributeNS(namespace, name)
            for element in _children(description):
                if (element.namespaceURI, element.localName) == (namespace, name):
                    texts = (node for node in element.childNodes if isinstance(node, minidom.Text))
                    return "".join(node.data for node in texts)
        return None

    def remove(self, namespace: str, name: str | None = None) -> None:
        """Remove a property, or all of a namespace."""
        for description in self._descriptions():
            for attribute in list(description.attributes.values()):
                if attribute.namespaceURI == namespace and name in (None, attribute.localName):
                    description.removeAttributeNode(attribute)
            for element in _children(description):
                if element.namespaceURI == namespace and name in (None, element.localName):
                    description.removeChild(element)

    @property
    def about(self) -> str:
        """What all properties describe: a URI, or nothing, which is the file itself."""
        return next((each.getAttributeNS(_RDF, "about") for each in self._descriptions()), "")

    def add(self, prefix: str, namespace: str, properties: Mapping[str, str], about: str = "") -> None:
        """Add simple properties. They describe what the others describe, if there are any, or `about`."""
        description = self._document.createElementNS(_RDF, f"{self._rdf.prefix or 'rdf'}:Description")
        if not self._rdf.prefix:
            description.setAttributeNS(_XMLNS, "xmlns:rdf", _RDF)
        description.setAttributeNS(_RDF, f"{self._rdf.prefix or 'rdf'}:about", self.about or about)
        description.setAttributeNS(_XMLNS, f"xmlns:{prefix}", namespace)
        for name, value in properties.items():
            description.setAttributeNS(namespace, f"{prefix}:{name}", value)
        self._rdf.appendChild(description)

    def absorb(self, other: Packet) -> None:
        """Add all properties of another packet."""
        for description in other._descriptions():
            copy = self._document.importNode(description, deep=True)
            for declaration in _declarations(description):
                if not copy.hasAttribute(declaration.name):
                    copy.setAttributeNS(_XMLNS, declaration.name, declaration.value)
            self._rdf.appendChild(copy)

    def to_bytes(self) -> bytes:
        """Return it without the marks of a packet, as extended XMP is stored."""
        return self._root.toxml().encode()

    def to_marked_bytes(self) -> bytes:
        return _BEGIN + self.to_bytes() + _END

    def _descriptions(self) -> Iterator[minidom.Element]:
        for element in _children(self._rdf):
            if (element.namespaceURI, element.localName) == (_RDF, "Description"):
                yield element


def _is_deep(root: minidom.Element) -> bool:
    """Return whether elements lie in each other so deeply that walking them could exhaust the stack."""
    level = [root]
    for _ in range(_MOST_LEVELS):
        level = [child for element in level for child in _children(element)]
    return bool(level)


def _children(element: minidom.Node) -> list[minidom.Element]:
    return [node for node in element.childNodes if isinstance(node, minidom.Element)]


def _declarations(element: minidom.Element) -> Iterator[minidom.Attr]:
    """Yield the declarations of namespaces outside an element, the nearest first."""
    outer = element.parentNode
    while isinstance(outer, minidom.Element):
        yield from (each for each in outer.attributes.values() if each.namespaceURI == _XMLNS)
        outer = outer.parentNode
