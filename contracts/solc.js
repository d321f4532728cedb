// Speaks enough of native solc's command line for py-solc-x, slither and forge, over npm's WebAssembly solc.
// usage: node solc.js PATH_TO_SOLC_MODULE (--version | --standard-json [--base-path P] [--include-path P]…)
const fs = require('fs');
const path = require('path');
const solc = require(path.resolve(process.argv[2]));
const args = process.argv.slice(3);

if (args.includes('--version')) {
  process.stdout.write(`solc, the solidity compiler commandline interface\nVersion: ${solc.version().replace('.Emscripten.clang', '')}.Linux.g++\n`);
  process.exit(0);
}
const valuesOf = (flag) => args.flatMap((arg, i) => (arg === flag ? [args[i + 1]] : []));
const roots = [...valuesOf('--base-path'), ...valuesOf('--include-path'), '.'];
const readImport = (name) => {
  for (const root of roots) {
    const file = path.join(root, name);
    if (fs.existsSync(file)) return { contents: fs.readFileSync(file, 'utf8') };
  }
  return { error: `${name} not found` };
};
process.stdout.write(solc.compile(fs.readFileSync(0, 'utf8'), { import: readImport }));
