#!/usr/bin/env node
// Starts the command: the files in dist/command, each through V8's code cache, which `npm run build` made beside it. Without a
// cache, or with that of another Node, it only starts more slowly. A CommonJS file: Node takes 7 ms longer to start another.
const { existsSync, readFileSync, writeFileSync } = require('node:fs');
const { Script } = require('node:vm');

const folder = `${__dirname}/dist/command`;
const url = `file://${encodeURI(folder)}/main.cjs`;
const writeCache = process.env.TYPEVISOR_WRITE_CODE_CACHE;
/** The functions of the packs read so far, by piece; and which pack has which piece. */
const pieces = {};
/** Exports of the pieces that ran. */
const exported = new Map();

function read(pack) {
  const file = `${folder}/${pack}.cjs`;
  const cachedData = cacheOf(file);
  const script = new Script(readFileSync(file, 'latin1'), {
    filename: file,
    ...(cachedData && { cachedData }),
  });
  if (writeCache) process.once('exit', () => writeFileSync(`${file}.cache`, script.createCachedData()));
  Object.assign(pieces, script.runInThisContext());
}

function cacheOf(file) {
  try {
    return readFileSync(`${file}.cache`);
  } catch {
    return undefined;
  }
}

/** As CommonJS's own require: a piece runs once, and a circle gets what is there so far. */
function requirePiece(id) {
  if (!id.startsWith('./')) return require(id);
  const name = id.slice(2);
  const module = exported.get(name) ?? { exports: {} };
  if (exported.has(name)) return module.exports;
  exported.set(name, module);
  if (!(name in pieces)) read(pieces.packOf[name]);
  // Code from a cache cannot import by itself: --device goes through ours.
  pieces[name](module, module.exports, requirePiece, url, (specifier) => import(specifier));
  return module.exports;
}

if (existsSync(folder)) {
  read('main');
  requirePiece('./main.js');
} else {
  process.stderr.write('vmm: not built yet: run npm install, then npm run build (npm start does both)\n');
  process.exitCode = 70;
}
