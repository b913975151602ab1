// Operations with Node's ssh2, one a line of the input: PORT USER KEY. tests/clients/scripted.rs says how they are answered.
'use strict';

const fs = require('fs');
const path = require('path');
const readline = require('readline');
const { Client } = require('ssh2');

const [port, username, key] = process.argv.slice(2);

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

/** What a stream gives. */
const gathered = (stream) =>
  new Promise((resolve, reject) => {
    const pieces = [];
    stream.on('data', (piece) => pieces.push(piece)).on('error', reject).on('end', () => resolve(Buffer.concat(pieces)));
  });

const same = (one, other, what) => {
  if (!one.equals(other)) throw new Error(`${what}: ${one.length} bytes, which are not the ${other.length} expected`);
};

const put = (sftp, local, remote, options = {}) => call(sftp, 'fastPut', local, remote, options);
const get = (sftp, remote, local, options = {}) => call(sftp, 'fastGet', remote, local, options);

const operations = {
  put,
  get,
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
  put_timed: async (sftp, local, remote) => {
    await put(sftp, local, remote);
    const time = Math.floor(fs.statSync(local).mtimeMs / 1000);
    await call(sftp, 'utimes', remote, time, time);
  },
  get_timed: async (sftp, remote, local) => {
    await get(sftp, remote, local);
    const time = (await call(sftp, 'stat', remote)).mtime;
    fs.utimesSync(local, time, time);
  },
  list: async (sftp, folder) => (await call(sftp, 'readdir', folder)).map((entry) => entry.filename).join('\n'),
  rename: (sftp, from, to) => call(sftp, 'rename', from, to),
  remove: (sftp, file) => call(sftp, 'unlink', file),
  mkdir: (sftp, folder) => call(sftp, 'mkdir', folder),
  rmdir: (sftp, folder) => call(sftp, 'rmdir', folder),
  /** Few and many requests at once, of small and of large pieces: more than the gateway gives in one answer. */
  at_once: async (sftp, local, remote, back) => {
    const whole = fs.readFileSync(local);
    for (const options of [{ concurrency: 1 }, { concurrency: 256, chunkSize: 200000 }, { concurrency: 64, chunkSize: 5000 }]) {
      await put(sftp, local, remote, options);
      await get(sftp, remote, back, { ...options, chunkSize: 2 * (options.chunkSize || 32768) });
      same(fs.readFileSync(back), whole, JSON.stringify(options));
    }
  },
  ranges: async (sftp, local, remote) => {
    const whole = fs.readFileSync(local);
    for (const [start, end] of [[0, 0], [100, 199], [32767, 32768], [200000, whole.length - 1]]) {
      same(await gathered(sftp.createReadStream(remote, { start, end })), whole.subarray(start, end + 1), `${start}-${end}`);
    }
  },
  append: async (sftp, remote) => {
    await call(sftp, 'writeFile', remote, 'one');
    await call(sftp, 'appendFile', remote, 'two');
    await resume(require('stream').Readable.from([Buffer.from('three')]), sftp.createWriteStream(remote, { flags: 'a' }));
    same(await call(sftp, 'readFile', remote), Buffer.from('onetwothree'), remote);
  },
  extensions: async (sftp, remote) => {
    await call(sftp, 'writeFile', remote, 'data');
    await call(sftp, 'writeFile', `${remote}.new`, 'new');
    await call(sftp, 'ext_openssh_rename', `${remote}.new`, remote);
    await call(sftp, 'ext_openssh_lsetstat', remote, { atime: 1e9, mtime: 1e9 });
    const [from, to] = [await call(sftp, 'open', remote, 'r'), await call(sftp, 'open', `${remote}.copy`, 'w')];
    await call(sftp, 'ext_copy_data', from, 0, 0, to, 0);
    await call(sftp, 'ext_openssh_fsync', to);
    await call(sftp, 'close', to);
    await call(sftp, 'close', from);
    same(await call(sftp, 'readFile', `${remote}.copy`), Buffer.from('new'), 'the copy');
    const { mtime, size } = await call(sftp, 'stat', remote);
    const { f_blocks } = await call(sftp, 'ext_openssh_statvfs', '/');
    if (mtime !== 1e9 || size !== 3 || f_blocks === 0) throw new Error(`${mtime} ${size} ${f_blocks}`);
  },
};

/** Does each operation that is asked for. */
async function converse(sftp) {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [operation, ...args] = line.split('\t');
    try {
      const given = await operations[operation](sftp, ...args);
      for (const text of given ? given.split('\n') : []) console.log(` ${text}`);
      console.log('ok');
    } catch (error) {
      console.log(`error\t${error.code}\t${error.message}`);
    }
  }
}

const client = new Client();
client.on('error', (error) => {
  console.error(error);
  process.exit(1);
});
client.on('ready', () => {
  client.sftp(async (error, sftp) => {
    if (error) throw error;
    await converse(sftp);
    client.end();
  });
});
client.connect({ host: '127.0.0.1', port: Number(port), username, privateKey: fs.readFileSync(key), readyTimeout: 600000 });
