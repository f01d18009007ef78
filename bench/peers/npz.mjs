// Reads and writes numpy's .npz: a ZIP of .npy arrays, stored or deflated.

import fs from "node:fs";
import zlib from "node:zlib";

const NAMES = { "<f4": "float32", "<f8": "float64", "<i8": "int64", "<i4": "int32", "|u1": "uint8", "|i1": "int8", "|b1": "bool" };

/** The arrays of a file by name: { type, shape, data: ArrayBuffer }. */
export function readNpz(file) {
  const bytes = fs.readFileSync(file);
  const end = bytes.lastIndexOf(Buffer.from("PK\x05\x06", "latin1"));
  if (end < 0) throw new Error(`${file} is no ZIP file`);
  const arrays = {};
  let at = bytes.readUInt32LE(end + 16);
  for (let count = bytes.readUInt16LE(end + 10); count > 0; count--) {
    const method = bytes.readUInt16LE(at + 10);
    const nameLength = bytes.readUInt16LE(at + 28);
    const name = bytes.toString("utf8", at + 46, at + 46 + nameLength);
    const local = bytes.readUInt32LE(at + 42);
    const start = local + 30 + bytes.readUInt16LE(local + 26) + bytes.readUInt16LE(local + 28);
    const packed = bytes.subarray(start, start + bytes.readUInt32LE(at + 20));
    arrays[name.replace(/\.npy$/, "")] = readNpy(method === 8 ? zlib.inflateRawSync(packed) : packed, `${file}: ${name}`);
    at += 46 + nameLength + bytes.readUInt16LE(at + 30) + bytes.readUInt16LE(at + 32);
  }
  return arrays;
}

function readNpy(bytes, where) {
  const wide = bytes[6] >= 2;
  const start = wide ? 12 : 10;
  const length = wide ? bytes.readUInt32LE(8) : bytes.readUInt16LE(8);
  const header = bytes.toString("latin1", start, start + length);
  const descr = /'descr': '([^']+)'/.exec(header)?.[1];
  const shape = /'shape': \(([^)]*)\)/.exec(header)?.[1];
  if (!NAMES[descr] || shape === undefined || /'fortran_order': True/.test(header)) {
    throw new Error(`${where}: an array like ${header.trim()} is not read here`);
  }
  const data = bytes.subarray(start + length);
  return {
    type: NAMES[descr],
    shape: shape.split(",").map((extent) => extent.trim()).filter(Boolean).map(Number),
    data: data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength),
  };
}

/** Writes tensors by name ({ type, dims, data }), stored. */
export function writeNpz(file, tensors) {
  const parts = [];
  const directory = [];
  let at = 0;
  for (const [key, { type, dims, data }] of Object.entries(tensors)) {
    const descr = Object.keys(NAMES).find((descr) => NAMES[descr] === type);
    if (!descr) throw new Error(`${file}: ${key} has type ${type}, which is not written here`);
    const tuple = dims.length === 1 ? `${dims[0]},` : dims.join(", ");
    const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${tuple}), }`;
    const header = Buffer.from(text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11) + "\n", "latin1");
    const magic = Buffer.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length & 255, header.length >> 8]);
    const body = Buffer.concat([magic, header, Buffer.from(data.buffer, data.byteOffset, data.byteLength)]);
    const name = Buffer.from(`${key}.npy`, "utf8");
    const fields = Buffer.alloc(26);
    fields.writeUInt16LE(20, 0);
    fields.writeUInt32LE(crc32(body), 10);
    fields.writeUInt32LE(body.length, 14);
    fields.writeUInt32LE(body.length, 18);
    fields.writeUInt16LE(name.length, 22);
    const local = Buffer.concat([Buffer.from("PK\x03\x04", "latin1"), fields, name]);
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE(at, 10);
    directory.push(Buffer.concat([Buffer.from("PK\x01\x02\x14\x00", "latin1"), fields, rest, name]));
    parts.push(local, body);
    at += local.length + body.length;
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(18);
  end.writeUInt16LE(directory.length, 4);
  end.writeUInt16LE(directory.length, 6);
  end.writeUInt32LE(central.length, 8);
  end.writeUInt32LE(at, 12);
  fs.writeFileSync(file, Buffer.concat([...parts, central, Buffer.from("PK\x05\x06", "latin1"), end]));
}

const CRC = new Uint32Array(256).map((_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function crc32(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) sum = CRC[(sum ^ byte) & 255] ^ (sum >>> 8);
  return (sum ^ 0xffffffff) >>> 0;
}
