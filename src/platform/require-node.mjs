// Runs before everything else, and must parse on any Node since 18: it tells an old Node's user what to do
// instead of letting the first .ts file fail with a riddle.
const needed = 26;
if (Number(process.versions.node.split('.')[0]) < needed) {
  process.stderr.write(
    `Farebox needs Node ${needed} or newer; this is Node ${process.versions.node}.\n` +
      'Start it by its npm scripts (`npm start`, `npm run serve`): `npm ci` installs a matching Node beside the project,\n' +
      `or put Node ${needed} on the PATH.\n`,
  );
  process.exit(1);
}
