// Writes binary glTF for tests, from nothing but its specification.

function pad(buffer, filler) {
  return Buffer.concat([buffer, Buffer.alloc(-buffer.length & 3, filler)]);
}

/**
 * Write a GLB of meshes `{positions, places, triangles, picture}`, each an array of rows; `change(document)` may change what
 * is written of them.
 */
export function writeGlb(meshes, { change = () => {}, IndexArray = Uint16Array } = {}) {
  const document = {
    asset: { version: "2.0" }, meshes: [], materials: [], textures: [], images: [], accessors: [], bufferViews: [], nodes: [], buffers: [],
  };
  let binary = Buffer.alloc(0);
  const view = (data) => {
    document.bufferViews.push({ buffer: 0, byteOffset: binary.length, byteLength: data.length });
    binary = pad(Buffer.concat([binary, data]), 0);
    return document.bufferViews.length - 1;
  };
  const accessor = (numbers, componentType, type, count) =>
    document.accessors.push({ bufferView: view(Buffer.from(numbers.buffer)), componentType, type, count }) - 1;
  for (const [at, { positions, places, triangles, picture }] of meshes.entries()) {
    const attributes = {
      POSITION: accessor(Float32Array.from(positions.flat()), 5126, "VEC3", positions.length),
      TEXCOORD_0: accessor(Float32Array.from(places.flat()), 5126, "VEC2", places.length),
    };
    const kind = { 1: 5121, 2: 5123, 4: 5125 }[IndexArray.BYTES_PER_ELEMENT];
    const indices = accessor(IndexArray.from(triangles.flat()), kind, "SCALAR", 3 * triangles.length);
    document.images.push({ bufferView: view(Buffer.from(picture)), mimeType: "image/jpeg" });
    document.textures.push({ source: at });
    document.materials.push({ pbrMetallicRoughness: { baseColorTexture: { index: at } } });
    document.meshes.push({ primitives: [{ attributes, indices, material: at }] });
    document.nodes.push({ mesh: at });
  }
  document.buffers.push({ byteLength: binary.length });
  change(document);
  const text = pad(Buffer.from(JSON.stringify(document)), " ");
  const chunk = (kind, data) => Buffer.concat([Buffer.from(Uint32Array.of(data.length).buffer), Buffer.from(kind), data]);
  const body = Buffer.concat([chunk("JSON", text), chunk("BIN\0", binary)]);
  const head = Buffer.concat([Buffer.from("glTF"), Buffer.from(Uint32Array.of(2, 12 + body.length).buffer)]);
  return Uint8Array.from(Buffer.concat([head, body])).buffer;
}
