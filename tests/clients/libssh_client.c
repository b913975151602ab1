/* Operations with libssh, one a line of the input: PORT USER KEY KNOWN_HOSTS. tests/clients/scripted.rs says how they are answered. */

#include <fcntl.h>
#include <libssh/libssh.h>
#include <libssh/sftp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define PIECE 30000
#define AHEAD 16

static ssh_session ssh;
static sftp_session sftp;

static int put(const char *local, const char *remote)
{
    static char piece[PIECE];
    size_t length;
    int failed = 0;
    FILE *source = fopen(local, "rb");
    sftp_file target = sftp_open(sftp, remote, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (!target) {
        fclose(source);
        return -1;
    }
    while (!failed && (length = fread(piece, 1, PIECE, source)) > 0)
        failed = sftp_write(target, piece, length) != (ssize_t)length;
    fclose(source);
    return sftp_close(target) || failed ? -1 : 0;
}

/* With its own way to ask for pieces in advance. */
static int get(const char *remote, const char *local)
{
    static char piece[PIECE];
    uint32_t asked[AHEAD];
    int first = 0, failed = 0;
    FILE *target;
    sftp_file source = sftp_open(sftp, remote, O_RDONLY, 0);
    if (!source)
        return -1;
    target = fopen(local, "wb");
    for (int i = 0; i < AHEAD; i++)
        asked[i] = sftp_async_read_begin(source, PIECE);
    for (;;) {
        int length = sftp_async_read(source, piece, PIECE, asked[first]);
        if (length < 0)
            failed = -1;
        if (length <= 0)
            break;
        fwrite(piece, 1, length, target);
        asked[first] = sftp_async_read_begin(source, PIECE);
        first = (first + 1) % AHEAD;
    }
    /* The answers that are still to come are those beyond the end. */
    for (int i = 1; i < AHEAD; i++)
        sftp_async_read(source, piece, PIECE, asked[(first + i) % AHEAD]);
    fclose(target);
    return sftp_close(source) ? -1 : failed;
}

static int put_timed(const char *local, const char *remote)
{
    struct stat found;
    struct timeval times[2];
    if (put(local, remote))
        return -1;
    stat(local, &found);
    memset(times, 0, sizeof times);
    times[0].tv_sec = times[1].tv_sec = found.st_mtime;
    return sftp_utimes(sftp, remote, times);
}

static int get_timed(const char *remote, const char *local)
{
    struct timespec times[2];
    sftp_attributes found;
    if (get(remote, local) || !(found = sftp_stat(sftp, remote)))
        return -1;
    memset(times, 0, sizeof times);
    times[0].tv_sec = times[1].tv_sec = found->mtime;
    sftp_attributes_free(found);
    return utimensat(AT_FDCWD, local, times, 0);
}

static int show(const char *path)
{
    sftp_attributes found = sftp_stat(sftp, path);
    if (!found)
        return -1;
    printf(" %llu %lu\n", (unsigned long long)found->size, (unsigned long)found->mtime);
    sftp_attributes_free(found);
    return 0;
}

/* Calls back with each entry, whose attributes may be absent; stops at the first failure. */
static int each(const char *folder, int (*entry)(const char *folder, sftp_attributes found))
{
    sftp_attributes found;
    int failed = 0;
    sftp_dir dir = sftp_opendir(sftp, folder);
    if (!dir)
        return -1;
    while ((found = sftp_readdir(sftp, dir))) {
        if (!failed && strcmp(found->name, ".") && strcmp(found->name, ".."))
            failed = entry(folder, found);
        sftp_attributes_free(found);
    }
    if (!sftp_dir_eof(dir))
        failed = -1;
    return sftp_closedir(dir) ? -1 : failed;
}

static int print_name(const char *folder, sftp_attributes found)
{
    (void)folder;
    return printf(" %s\n", found->name) < 0;
}

static int remove_tree(const char *folder);

static int remove_entry(const char *folder, sftp_attributes found)
{
    char path[2048];
    snprintf(path, sizeof path, "%s/%s", folder, found->name);
    return found->type == SSH_FILEXFER_TYPE_DIRECTORY ? remove_tree(path) : sftp_unlink(sftp, path);
}

static int remove_tree(const char *folder)
{
    return each(folder, remove_entry) ? -1 : sftp_rmdir(sftp, folder);
}

static int perform(const char *operation, const char *one, const char *two)
{
#define IS(name) (!strcmp(operation, name))
    if (IS("put")) return put(one, two);
    if (IS("get")) return get(one, two);
    if (IS("put_timed")) return put_timed(one, two);
    if (IS("get_timed")) return get_timed(one, two);
    if (IS("list")) return each(one, print_name);
    if (IS("stat")) return show(one);
    if (IS("rename")) return sftp_rename(sftp, one, two);
    if (IS("remove")) return sftp_unlink(sftp, one);
    if (IS("mkdir")) return sftp_mkdir(sftp, one, 0755);
    if (IS("rmdir")) return sftp_rmdir(sftp, one);
    if (IS("remove_tree")) return remove_tree(one);
    return -1;
}

static int begin(char **arguments)
{
    long limit = 600;
    ssh_key key;
    ssh = ssh_new();
    ssh_options_set(ssh, SSH_OPTIONS_HOST, "127.0.0.1");
    ssh_options_set(ssh, SSH_OPTIONS_PORT_STR, arguments[1]);
    ssh_options_set(ssh, SSH_OPTIONS_USER, arguments[2]);
    ssh_options_set(ssh, SSH_OPTIONS_KNOWNHOSTS, arguments[4]);
    ssh_options_set(ssh, SSH_OPTIONS_TIMEOUT, &limit);
    if (ssh_connect(ssh) != SSH_OK || ssh_session_is_known_server(ssh) != SSH_KNOWN_HOSTS_OK)
        return -1;
    if (ssh_pki_import_privkey_file(arguments[3], NULL, NULL, NULL, &key) != SSH_OK)
        return -1;
    if (ssh_userauth_publickey(ssh, NULL, key) != SSH_AUTH_SUCCESS)
        return -1;
    ssh_key_free(key);
    sftp = sftp_new(ssh);
    return sftp && sftp_init(sftp) == SSH_OK ? 0 : -1;
}

int main(int count, char **arguments)
{
    char line[8192];
    if (count != 5 || begin(arguments)) {
        fprintf(stderr, "no session: %s\n", ssh ? ssh_get_error(ssh) : "five words are wanted");
        return 1;
    }
    while (fgets(line, sizeof line, stdin)) {
        char *words[3] = { "", "", "" }, *rest = line;
        line[strcspn(line, "\n")] = 0;
        for (int i = 0; i < 3 && rest; i++)
            words[i] = strsep(&rest, "\t");
        if (perform(words[0], words[1], words[2]))
            printf("error\t%d\t%s\n", sftp_get_error(sftp), ssh_get_error(ssh));
        else
            puts("ok");
        fflush(stdout);
    }
    sftp_free(sftp);
    ssh_disconnect(ssh);
    ssh_free(ssh);
    return 0;
}
