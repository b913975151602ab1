// One operation with Node's ssh2: PORT USER KEY OPERATION ARGUMENTS...
'use strict';

const fs = require('fs');
const path = require('path');
const { Client } = require('ssh2');

const [port, username, key, operation, ...args] = process.argv.slice(2);

/** A method of the session as a promise. */
const call = (sftp, method, ...rest) =>
  new Promise((resolve, reject) =>
    sftp[method](...rest, (error, result) => (error ? reject(error) : resolve(result))));

async function putTree(sftp, local, remote) {
  await call(sftp, 'mkdir', remote);
  for (const entry of fs.readdirSync(local, { withFileTypes: true })) {
    const [here, there] = [path.join(local, entry.name), `${remote}/${entry.name}`];
    await (entry.isDirectory() ? putTree(sftp, here, there) : call(sftp, 'fastPut', here, there));
  }
}

async function getTree(sftp, remote, local) {
  fs.mkdirSync(local);
  for (const entry of await call(sftp, 'readdir', remote)) {
    const [here, there] = [path.join(local, entry.filename), `${remote}/${entry.filename}`];
    await (entry.attrs.isDirectory() ? getTree(sftp, there, here) : call(sftp, 'fastGet', there, here));
  }
}

/** Continues what lies there, with streams. */
const resume = (from, to) =>
  new Promise((resolve, reject) => from.on('error', reject).pipe(to).on('error', reject).on('close', resolve));

const operations = {
  put: (sftp, local, remote) => call(sftp, 'fastPut', local, remote),
  get: (sftp, remote, local) => call(sftp, 'fastGet', remote, local),
  put_tree: putTree,
  get_tree: getTree,
  reput: async (sftp, local, remote) => {
    const start = (await call(sftp, 'stat', remote)).size;
    await resume(fs.createReadStream(local, { start }), sftp.createWriteStream(remote, { flags: 'r+', start }));
  },
  reget: async (sftp, remote, local) => {
    const start = fs.statSync(local).size;
    await resume(sftp.createReadStream(remote, { start }), fs.createWriteStream(local, { flags: 'r+', start }));
  },
  list: async (sftp, folder) => {
    for (const entry of await call(sftp, 'readdir', folder)) console.log(entry.filename);
  },
  rename: (sftp, from, to) => call(sftp, 'rename', from, to),
  remove: (sftp, file) => call(sftp, 'unlink', file),
  mkdir: (sftp, folder) => call(sftp, 'mkdir', folder),
};

const client = new Client();
client.on('error', (error) => {
  console.error(error);
  process.exit(1);
});
client.on('ready', () => {
  client.sftp(async (error, sftp) => {
    try {
      if (error) throw error;
      await operations[operation](sftp, ...args);
      client.end();
    } catch (failure) {
      console.error(failure);
      process.exit(1);
    }
  });
});
client.connect({ host: '127.0.0.1', port: Number(port), username, privateKey: fs.readFileSync(key) });
