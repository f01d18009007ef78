// Reads numpy's .npz: a ZIP of .npy arrays, stored or deflated.

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
