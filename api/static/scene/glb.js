// Reads binary glTF 2.0 as the workers write it: meshes of triangles, each with a picture on it.
// Format: Khronos' glTF 2.0 specification (ISO/IEC 12113), sections 3.6 and 4.4.

const [MAGIC, JSON_CHUNK, BINARY_CHUNK] = [0x46546c67, 0x4e4f534a, 0x004e4942];
const TRIANGLES = 4;
const ARRAYS = { 5121: Uint8Array, 5123: Uint16Array, 5125: Uint32Array, 5126: Float32Array };
const SIZES = { SCALAR: 1, VEC2: 2, VEC3: 3 };

/**
 * Triangles in space with a picture on them. `positions` has three numbers for each vertex, `places` two, from the top left
 * of the picture.
 * @typedef {{positions: Float32Array, places: Float32Array, triangles: Uint32Array, picture: Blob}} Primitive
 */

/** Read all triangles of a GLB. Nodes may not be moved. Throws an Error for any other kind of file. */
export function readGlb(/** @type {ArrayBuffer} */ buffer) {
  const { document, binary } = openGlb(buffer);
  if (document.nodes?.some(({ matrix, translation, rotation, scale }) => matrix ?? translation ?? rotation ?? scale)) throw new Error("This GLB moves its nodes.");
  const reader = new Reader(document, binary);
  const primitives = document.meshes.flatMap(({ primitives }) => primitives.map((each) => reader.primitive(each)));
  if (primitives.length === 0) throw new Error("This GLB is empty.");
  return /** @type {Primitive[]} */ (primitives);
}

function openGlb(buffer) {
  const view = new DataView(buffer);
  if (buffer.byteLength < 20 || view.getUint32(0, true) !== MAGIC || view.getUint32(4, true) !== 2) throw new Error("This is no GLB of version 2.");
  const chunks = new Map();
  for (let at = 12; at + 8 <= buffer.byteLength;) {
    const length = view.getUint32(at, true);
    if (at + 8 + length > buffer.byteLength) throw new Error("This GLB is incomplete.");
    chunks.set(view.getUint32(at + 4, true), new Uint8Array(buffer, at + 8, length));
    at += 8 + length;
  }
  const [text, binary] = [chunks.get(JSON_CHUNK), chunks.get(BINARY_CHUNK)];
  if (!text || !binary) throw new Error("This GLB is incomplete.");
  return { document: JSON.parse(new TextDecoder().decode(text)), binary };
}

class Reader {
  constructor(document, /** @type {Uint8Array<ArrayBuffer>} */ binary) {
    this.document = document;
    this.binary = binary;
  }

  primitive({ attributes, indices, material, mode = TRIANGLES }) {
    if (mode !== TRIANGLES || indices === undefined) throw new Error("This GLB has other things than triangles.");
    return {
      positions: Float32Array.from(this.#numbers(attributes.POSITION)),
      places: Float32Array.from(this.#numbers(attributes.TEXCOORD_0)),
      triangles: Uint32Array.from(this.#numbers(indices)),
      picture: this.#picture(material),
    };
  }

  #numbers(index) {
    const { bufferView, byteOffset = 0, componentType, count, type, normalized, sparse } = this.document.accessors[index];
    const { byteStride, ...where } = this.document.bufferViews[bufferView];
    const Numbers = ARRAYS[componentType];
    const [parts, wide] = [SIZES[type], Numbers?.BYTES_PER_ELEMENT * SIZES[type]];
    if (!wide || normalized || sparse || (byteStride ?? wide) !== wide) throw new Error("This GLB stores its numbers in another way.");
    const bytes = this.#bytes(where);
    // Copy the bytes, because the numbers may begin at an offset that no array of numbers can have.
    return new Numbers(bytes.slice(byteOffset, byteOffset + wide * count).buffer, 0, parts * count);
  }

  #picture(material) {
    const { document } = this;
    const texture = document.materials[material].pbrMetallicRoughness.baseColorTexture.index;
    const { bufferView, mimeType } = document.images[document.textures[texture].source];
    return new Blob([this.#bytes(document.bufferViews[bufferView])], { type: mimeType });
  }

  #bytes({ byteOffset = 0, byteLength }) {
    if (byteOffset + byteLength > this.binary.length) throw new Error("This GLB is incomplete.");
    return this.binary.subarray(byteOffset, byteOffset + byteLength);
  }
}
