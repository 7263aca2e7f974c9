/* The program in front of each command of a managed client.
 *
 * It passes the gate, takes a shared lock on `running` that the client inherits, reads which program to run, and becomes
 * that program in the same process. Everything else is the caller's and stays as it was: descriptors, environment,
 * argv[0], signals, limits, umask, working directory, exit code.
 *
 * What it needs to know stands in `installed` below, written into the file when the shim is installed. Nothing is taken
 * from argv[0]. The one variable that is read from the environment names a descriptor, and counts only if that
 * descriptor is the marker of an upgrade, opened for writing, which only the marker's owner can do.
 *
 * Compiled by tools/build_shims.py. The `sh` form (upgrader/host/shim.py) is for platforms without a compiled one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
	TEXT_SIZE = 4064,     /* bytes of all strings together; the installer refuses longer ones */
	HIGHEST_FD = 1024,    /* exclusive: select(2) in a client takes no higher descriptor */
	UNAVAILABLE = 69,     /* EX_UNAVAILABLE of sysexits.h */
	CANNOT_RUN = 126,     /* as shells exit when a program cannot be run ... */
	NO_PROGRAM = 127,     /* ... and when there is none */
	TELL_AFTER_MS = 3000, /* of waiting, then why is said once */
	RECOVERY_MS = 60000,  /* the longest wait for the recovery of an interrupted upgrade */
	STALE_S = 600,        /* seconds: an older marker of an interrupted upgrade is not waited for */
	LOCK_TRIES = 50,      /* of a run that goes past the gate: whoever looks for runs keeps `running` for an instant */
	FIRST_PAUSE_MS = 5,   /* between two tries, doubled each time */
	LONGEST_PAUSE_MS = 80,
	NOTE_SIZE = 1024, /* bytes of what the agent hears of a run's start */
};

/* Strings, each ended by a NUL byte, in the order of `enum field`. The first line makes the file recognizable. */
struct installed {
	char magic[32];
	char text[TEXT_SIZE];
};
__attribute__((used)) volatile struct installed installed = {"BACKFLEET SHIM 1: installed as\n", "\1"};

enum field { PACKAGE, COMMAND, GATE, RUNNING, UNVERIFIED, CURRENT, VERIFIED, LIMIT_MS, FIELDS };
static const char *field[FIELDS];

extern char **environ;

static int read_fields(void) {
	const char *at = (const char *)installed.text, *end = at + TEXT_SIZE;
	for (int number = 0; number < FIELDS; number++) {
		field[number] = at;
		while (at < end && *at) at++;
		if (at++ == end) return 0;
	}
	return field[LIMIT_MS][0] != 0;
}

static long long limit_ms(void) {
	long long number = 0;
	for (const char *at = field[LIMIT_MS]; *at >= '0' && *at <= '9'; at++) number = number * 10 + (*at - '0');
	return number;
}

/* --- What people are told ------------------------------------------------------------------------------------------ */

static char *append(char *to, char *end, const char *text) {
	while (*text && to < end) *to++ = *text++;
	return to;
}

/* The texts of strerror(3) for the errors that are to be expected. Its own table would be a third of the program. */
static const char *text_of(int problem) {
	static char other[] = "error 000";
	switch (problem) {
	case EPERM: return "Operation not permitted";
	case ENOENT: return "No such file or directory";
	case EACCES: return "Permission denied";
	case EIO: return "Input/output error";
	case ENOEXEC: return "Exec format error";
	case ENOMEM: return "Out of memory";
	case E2BIG: return "Argument list too long";
	case EINVAL: return "Invalid argument";
	case EMFILE: return "Too many open files";
	case ENOLCK: return "No locks available";
	case ENOTDIR: return "Not a directory";
	case ELOOP: return "Too many levels of symbolic links";
	}
	for (int at = 8; at > 5; at--, problem /= 10) other[at] = (char)('0' + problem % 10);
	return other;
}

/* Write one line to stderr and to the system's log. Best effort: neither may hold up a backup. */
static void tell(const char *text, const char *name, int problem) {
	char line[1024] = "<28>backfleet: ", *end = line + sizeof line - 1, *at = line + strlen(line);
	at = append(append(append(at, end, field[PACKAGE]), end, ": "), end, text);
	if (name) at = append(append(at, end, ": "), end, name);
	if (problem) at = append(append(at, end, ": "), end, text_of(problem));
	at = append(at, end + 1, "\n");
	size_t level = strlen("<28>"), length = (size_t)(at - line);
	if (write(2, line + level, length - level) < 0) errno = 0;
	int log = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (log < 0) return;
	struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
	if (sendto(log, line, length - 1, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&to, sizeof to) < 0) errno = 0;
	close(log);
}

static _Noreturn void fail(const char *text, const char *name, int problem) {
	tell(text, name, problem);
	_exit(UNAVAILABLE);
}

/* --- Descriptors and locks ----------------------------------------------------------------------------------------- */

/* Move a descriptor out of the caller's way: to the highest free number below min(soft limit, HIGHEST_FD). */
static int moved_up(int fd, int flags) {
	struct rlimit limit;
	int highest = HIGHEST_FD;
	if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur < HIGHEST_FD) highest = (int)limit.rlim_cur;
	for (int number = highest - 1; number > fd; number--) {
		if (fcntl(number, F_GETFD) >= 0) continue;
		if (dup3(fd, number, flags) < 0) break;
		close(fd);
		return number;
	}
	if (!flags) fcntl(fd, F_SETFD, 0);
	return fd;
}

static int lock_file(const char *path, int flags) {
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) fail("the lock file of this client cannot be opened; look at `backfleet-host status`", path, errno);
	return moved_up(fd, flags);
}

/* Take a shared record lock of the open file without waiting. It is kept over exec and by children, until the last copy
 * of the descriptor is closed. An exclusive one needs a descriptor for writing. */
static int take(int fd, const char *path) {
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
	if (!fcntl(fd, F_OFD_SETLK, &lock)) return 1;
	if (errno != EAGAIN && errno != EACCES && errno != EINTR) fail("the client cannot be locked", path, errno);
	return 0;
}

static void let_go(int fd) {
	struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
	fcntl(fd, F_OFD_SETLK, &lock);
}

/* --- The gate ------------------------------------------------------------------------------------------------------ */

static const char *variable(const char *name) {
	size_t length = strlen(name);
	for (char **at = environ; at && *at; at++)
		if (!strncmp(*at, name, length) && (*at)[length] == '=') return *at + length + 1;
	return 0;
}

static int is_same_file(const struct stat *one, const struct stat *other) {
	return one->st_dev == other->st_dev && one->st_ino == other->st_ino;
}

/* The upgrade that closed the gate runs the new version behind it: it hands down the marker, opened for writing, which
 * only the marker's owner can do. The client keeps the descriptor, so that what it starts passes too. It is the marker
 * and not the gate: whoever gets hold of it, as another user may of a process of his, can lock nothing with it. Where
 * the marker was lost the gate itself will do, and the client does not get it. */
static int is_verification(int gate) {
	const char *digits = variable("BACKFLEET_GATE_DESCRIPTOR");
	int fd = 0;
	if (!digits || !*digits) return 0;
	for (; *digits; digits++) {
		if (*digits < '0' || *digits > '9' || fd > 100000) return 0;
		fd = fd * 10 + (*digits - '0');
	}
	struct stat wanted, given;
	int mode = fcntl(fd, F_GETFL);
	if (fd == gate || mode < 0 || mode & O_PATH || (mode & O_ACCMODE) == O_RDONLY || fstat(fd, &given)) return 0;
	if (!stat(field[UNVERIFIED], &wanted) && is_same_file(&wanted, &given)) return 1;
	return !fstat(gate, &wanted) && is_same_file(&wanted, &given) && !close(fd);
}

static long long now_ms(void) {
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* What the marker says that lies there from a switch until the version is verified, where the gate is open. */
enum interruption { NONE, FRESH, STALE };

static enum interruption interruption(void) {
	struct stat marker;
	struct timespec now;
	if (stat(field[UNVERIFIED], &marker)) return NONE;
	clock_gettime(CLOCK_REALTIME, &now);
	long long age = (long long)now.tv_sec - (long long)marker.st_mtim.tv_sec;
	return -STALE_S < age && age < STALE_S ? FRESH : STALE;
}

static int was_renewed(int gate, struct stat *seen) {
	struct stat found;
	if (fstat(gate, &found)) return 0;
	if (found.st_mtim.tv_sec == seen->st_mtim.tv_sec && found.st_mtim.tv_nsec == seen->st_mtim.tv_nsec) return 0;
	*seen = found;
	return 1;
}

/* Whether the open gate is the one that has its name. An upgrade replaces one that somebody else keeps locked. */
static int is_the_gate(int gate) {
	struct stat ours, named;
	return !fstat(gate, &ours) && !stat(field[GATE], &named) && is_same_file(&ours, &named);
}

static void hold_running(int running) {
	struct timespec pause = {0, FIRST_PAUSE_MS * 1000000L};
	for (int number = 0; number < LOCK_TRIES && !take(running, field[RUNNING]); number++) nanosleep(&pause, 0);
}

/* Wait until the gate is open, and hold `running`. Return the version to run.
 *
 * The limit begins anew whenever the upgrade that keeps the gate closed touches it. A run that has waited for longer
 * runs the version that was verified last. */
static const char *pass_gate(int *gate, int running) {
	long long began = now_ms(), since = began;
	int pause_ms = FIRST_PAUSE_MS, has_told = 0;
	enum interruption found = NONE;
	int is_late = 0;
	struct stat seen = {0};
	was_renewed(*gate, &seen);
	for (;;) {
		int is_open = take(*gate, field[GATE]);
		long long limit = limit_ms();
		found = is_open ? interruption() : NONE;
		if (is_open && found != FRESH && take(running, field[RUNNING])) {
			if (is_the_gate(*gate)) break;
			let_go(running);
		}
		if (is_open) let_go(*gate);
		if (found == FRESH && limit > RECOVERY_MS) limit = RECOVERY_MS;
		if (was_renewed(*gate, &seen)) since = now_ms();
		if (now_ms() - since > limit) {
			is_late = 1;
			hold_running(running);
			break;
		}
		if (!has_told && now_ms() - began > TELL_AFTER_MS) {
			has_told = 1;
			tell(found ? "waiting for the recovery of an interrupted upgrade" : "waiting for an upgrade to finish", 0, 0);
		}
		struct timespec pause = {0, pause_ms * 1000000L};
		nanosleep(&pause, 0);
		if (pause_ms < LONGEST_PAUSE_MS) pause_ms *= 2;
		if (!is_the_gate(*gate)) {
			close(*gate);
			*gate = lock_file(field[GATE], O_CLOEXEC);
		}
	}
	struct stat link;
	if ((found == NONE && !is_late) || lstat(field[VERIFIED], &link)) return field[CURRENT];
	tell("an upgrade has not finished; running the last verified version", 0, 0);
	return field[VERIFIED];
}

/* --- The program --------------------------------------------------------------------------------------------------- */

/* Read the program's path in the version that a link points to. The one open decides which version runs. */
static void read_program(const char *version, char *program, size_t size) {
	char answer[TEXT_SIZE + 16], *end = answer + sizeof answer - 1;
	*append(append(append(answer, end, version), end, "/.backfleet/"), end, field[COMMAND]) = 0;
	int fd = open(answer, O_RDONLY | O_CLOEXEC);
	if (fd < 0) fail("no program is installed for this command", answer, errno);
	size_t length = 0;
	for (ssize_t count; length < size; length += (size_t)count) {
		count = read(fd, program + length, size - length);
		if (count < 0 && errno == EINTR) count = 0;
		else if (count <= 0) break;
	}
	close(fd);
	char *line_end = memchr(program, '\n', length);
	if (!line_end || line_end == program) fail("it does not say which program to run", answer, 0);
	*line_end = 0;
}

/* Tell the agent, if one listens, that a run begins here: the package, the command, the program and the first arguments.
 *
 * Best effort, in one datagram without waiting: no agent, a full queue and a long path all mean that it is not noted. The
 * agent learns process and user from the kernel, and the end from the process's own. */
static void note_run(const char *program, int argc, char **argv) {
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	char note[NOTE_SIZE], *end = note + sizeof note, *at = note;
	size_t length = strlen(field[RUNNING]);
	for (int parts = 0; length && parts < 2;) parts += field[RUNNING][--length] == '/';
	if (length + sizeof "/.runs" > sizeof to.sun_path) return;
	memcpy(to.sun_path, field[RUNNING], length);
	memcpy(to.sun_path + length, "/.runs", sizeof "/.runs");
	const char *const first[] = {"1", field[PACKAGE], field[COMMAND], program};
	for (int number = 0; number < 4 + argc - 1; number++) {
		at = append(at, end, number < 4 ? first[number] : argv[number - 3]);
		if (at == end) break;
		*at++ = 0;
	}
	int agent = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (agent < 0) return;
	size_t size = (size_t)(at - note);
	if (sendto(agent, note, size, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&to, sizeof to) < 0) errno = 0;
	close(agent);
}

/* Become the program. A text file without an interpreter line is run by sh, as every shell does. */
static _Noreturn void become(char *program, int argc, char **argv) {
	execve(program, argv, environ);
	int problem = errno;
	if (problem == ENOEXEC) {
		char *arguments[(argc > 0 ? argc : 1) + 2];
		arguments[0] = "/bin/sh";
		arguments[1] = program;
		for (int number = 1; number <= argc; number++) arguments[number + 1] = argv[number];
		if (argc < 1) arguments[2] = 0;
		execve(arguments[0], arguments, environ);
	}
	tell("the program cannot be run", program, problem);
	_exit(problem == ENOENT ? NO_PROGRAM : CANNOT_RUN);
}

int main(int argc, char **argv) {
	static char program[TEXT_SIZE];
	if (!read_fields()) {
		field[PACKAGE] = "shim";
		fail("it was not installed by backfleet-host", 0, 0);
	}
	int gate = lock_file(field[GATE], O_CLOEXEC), verifies = is_verification(gate);
	int running = lock_file(field[RUNNING], verifies ? O_CLOEXEC : 0);
	const char *version = verifies ? field[CURRENT] : pass_gate(&gate, running);
	read_program(version, program, sizeof program);
	close(gate);
	if (!verifies) note_run(program, argc, argv);
	become(program, argc, argv);
}
