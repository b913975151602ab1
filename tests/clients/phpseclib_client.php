<?php
// Operations with phpseclib, one a line of the input: PORT USER KEY. tests/clients/scripted.rs says how they are answered.

declare(strict_types=1);

require __DIR__ . '/conversation.php';
require 'phpseclib3/autoload.php';

use phpseclib3\Crypt\PublicKeyLoader;
use phpseclib3\Net\SFTP;

[, $port, $user, $key] = $argv;
$sftp = new SFTP('127.0.0.1', (int) $port, 600);
$sftp->setTimeout(600);
must($sftp->login($user, PublicKeyLoader::load(file_get_contents($key))), 'no login');

/** Throws what the library says when an operation fails. */
function done(mixed $result): mixed
{
    global $sftp;
    return must($result, (string) $sftp->getLastSFTPError());
}

function put_tree(string $local, string $remote): void
{
    global $sftp;
    done($sftp->mkdir($remote));
    each_entry($local, function (string $name, string $here, bool $is_folder) use ($sftp, $remote) {
        $is_folder ? put_tree($here, "$remote/$name") : done($sftp->put("$remote/$name", $here, SFTP::SOURCE_LOCAL_FILE));
    });
}

function get_tree(string $remote, string $local): void
{
    global $sftp;
    mkdir($local);
    foreach (done($sftp->rawlist($remote)) as $name => $attributes) {
        if ($name === '.' || $name === '..') {
            continue;
        }
        $attributes['type'] === 2 ? get_tree("$remote/$name", "$local/$name") : done($sftp->get("$remote/$name", "$local/$name"));
    }
}

/** Asks after each step, as Flysystem and many programs do: each question leaves a handle for writing open. */
function ask_whether_writable(string $path): void
{
    global $sftp;
    for ($round = 1; $round <= 3; $round++) {
        $size = 1000 * $round;
        done($sftp->put($path, str_repeat((string) $round, $size)));
        must($sftp->is_writable($path), 'it is said not to be writable');
        must($sftp->is_readable($path), 'it is said not to be readable');
        $sftp->clearStatCache();
        must($sftp->filesize($path) === $size, "round $round: {$sftp->filesize($path)} bytes");
        done($sftp->touch($path, 1_000_000_000 + $round, 1_000_000_000 + $round));
        $sftp->clearStatCache();
        must($sftp->filemtime($path) === 1_000_000_000 + $round, "round $round: {$sftp->filemtime($path)}");
        must($sftp->get($path) === str_repeat((string) $round, $size), "round $round: other bytes");
    }
}

/** More questions than a channel had handles. */
function ask_often(string $path, string $count): void
{
    global $sftp;
    done($sftp->put($path, 'some bytes'));
    for ($round = 0; $round < (int) $count; $round++) {
        must($sftp->is_writable($path), "question $round");
    }
    done($sftp->put($path, 'other bytes'));
    must($sftp->get($path) === 'other bytes', 'other bytes than were put');
}

hold([
    'put' => fn($local, $remote) => done($sftp->put($remote, $local, SFTP::SOURCE_LOCAL_FILE)),
    'get' => fn($remote, $local) => done($sftp->get($remote, $local)),
    'put_tree' => put_tree(...),
    'get_tree' => get_tree(...),
    'reput' => fn($local, $remote) =>
        done($sftp->put($remote, $local, SFTP::SOURCE_LOCAL_FILE | SFTP::RESUME, -1, $sftp->filesize($remote))),
    'reget' => fn($remote, $local) => done($sftp->get($remote, fopen($local, 'a'), filesize($local))),
    'put_timed' => function ($local, $remote) use ($sftp) {
        done($sftp->put($remote, $local, SFTP::SOURCE_LOCAL_FILE));
        done($sftp->touch($remote, filemtime($local), filemtime($local)));
    },
    'get_timed' => function ($remote, $local) use ($sftp) {
        done($sftp->get($remote, $local));
        touch($local, done($sftp->filemtime($remote)));
    },
    'list' => fn($folder) => implode("\n", array_map(strval(...), done($sftp->nlist($folder)))),
    'stat' => fn($path) => done($sftp->stat($path))['size'] . ' ' . $sftp->stat($path)['mtime'],
    'rename' => fn($from, $to) => done($sftp->rename($from, $to)),
    'remove' => fn($path) => done($sftp->delete($path, false)),
    'mkdir' => fn($folder) => done($sftp->mkdir($folder)),
    'rmdir' => fn($folder) => done($sftp->rmdir($folder)),
    'remove_tree' => fn($folder) => done($sftp->delete($folder, true)),
    'ask_whether_writable' => ask_whether_writable(...),
    'ask_often' => ask_often(...),
]);
