<?php
// The conversation with tests/clients/scripted.rs, and what is done on this side of the line.

declare(strict_types=1);

// A warning is an error: what a function returns besides is for each caller to ask.
set_error_handler(function (int $level, string $message): bool {
    throw new ErrorException($message, 0, $level);
}, E_WARNING | E_USER_WARNING | E_NOTICE | E_USER_NOTICE);

/** Throws what a function that returns false does not tell. */
function must(mixed $result, string $what): mixed
{
    if ($result === false) {
        throw new RuntimeException($what);
    }
    return $result;
}

/** Does each operation that is asked for. */
function hold(array $operations): void
{
    while (($line = fgets(STDIN)) !== false) {
        $words = explode("\t", rtrim($line, "\n"));
        try {
            $given = $operations[array_shift($words)](...$words);
            foreach (is_string($given) && $given !== '' ? explode("\n", $given) : [] as $text) {
                echo " $text\n";
            }
            echo "ok\n";
        } catch (Throwable $error) {
            $message = preg_replace('/\s+/', ' ', $error->getMessage());
            echo "error\t", get_class($error), "\t$message\n";
        }
    }
}

/** Calls back with each entry of a local folder: its name, where it is, whether it is a folder. */
function each_entry(string $folder, callable $do): void
{
    foreach (array_diff(scandir($folder), ['.', '..']) as $name) {
        $do((string) $name, "$folder/$name", is_dir("$folder/$name"));
    }
}
