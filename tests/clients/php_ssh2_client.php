<?php
// Operations with PHP's extension ssh2 (libssh2), one a line of the input: PORT USER KEY. tests/clients/scripted.rs says how they
// are answered.

declare(strict_types=1);

require __DIR__ . '/conversation.php';

ini_set('default_socket_timeout', '600');
[, $port, $user, $key] = $argv;
$session = must(ssh2_connect('127.0.0.1', (int) $port), 'no connection');
must(ssh2_auth_pubkey_file($session, $user, "$key.pub", $key), 'no login');
$sftp = must(ssh2_sftp($session), 'no SFTP');

/** A path for PHP's own functions. */
function at(string $path): string
{
    global $sftp;
    return 'ssh2.sftp://' . intval($sftp) . $path;
}

function copy_file(string $from, string $to): void
{
    [$source, $target] = [must(fopen($from, 'r'), $from), must(fopen($to, 'w'), $to)];
    $copied = must(stream_copy_to_stream($source, $target), "$from to $to");
    must(fclose($target), "close of $to");
    if (!str_starts_with($from, 'ssh2.')) {
        clearstatcache();
        must($copied === filesize($from), "$copied bytes of $from were copied");
    }
}

/** Sent with SCP under a temporary name, which gets its own at once. */
function send_and_rename(string $local, string $remote): void
{
    global $session, $sftp;
    must(ssh2_scp_send($session, $local, "$remote.part", 0644), "SCP to $remote.part");
    must(ssh2_sftp_rename($sftp, "$remote.part", $remote), "rename to $remote");
}

function remove_tree(string $folder): void
{
    global $sftp;
    foreach (array_diff(must(scandir(at($folder)), $folder), ['.', '..']) as $name) {
        is_dir(at("$folder/$name")) ? remove_tree("$folder/$name") : must(ssh2_sftp_unlink($sftp, "$folder/$name"), $name);
    }
    must(ssh2_sftp_rmdir($sftp, $folder), "rmdir of $folder");
}

hold([
    'put' => fn($local, $remote) => copy_file($local, at($remote)),
    'get' => fn($remote, $local) => copy_file(at($remote), $local),
    'list' => fn($folder) => implode("\n", must(scandir(at($folder)), $folder)),
    'stat' => fn($path) => must(ssh2_sftp_stat($sftp, $path), $path)['size'] . ' ' . ssh2_sftp_stat($sftp, $path)['mtime'],
    'rename' => fn($from, $to) => must(ssh2_sftp_rename($sftp, $from, $to), $from),
    'remove' => fn($path) => must(ssh2_sftp_unlink($sftp, $path), $path),
    'mkdir' => fn($folder) => must(ssh2_sftp_mkdir($sftp, $folder), $folder),
    'rmdir' => fn($folder) => must(ssh2_sftp_rmdir($sftp, $folder), $folder),
    'remove_tree' => remove_tree(...),
    'send_and_rename' => send_and_rename(...),
]);
