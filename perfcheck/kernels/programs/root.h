/* A guest's root file system of layers, made before the first step. /root.steps says how, a line each:
 *   module PATH         load a module of the kernel
 *   offer PATH          the same, where the kernel takes it
 *   layer DEVICE TYPE   mount a file system, read-only; the first layer lies above those after it
 * The archive's folder /own lies above all layers. What cannot be done is told as `@failed TEXT`, and ends the guest.
 * Included by init.c: it writes to its `report_fd`.
 */
#include <sys/syscall.h>

static void fail(const char *what, const char *name)
{
	dprintf(report_fd, "@failed %s %s: %s\n", what, name, strerror(errno));
	tcdrain(report_fd);
	sync();
	reboot(RB_AUTOBOOT);
}

static void load_module(const char *path, int may_fail)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if ((fd < 0 || (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST)) && !may_fail)
		fail("the kernel refuses the module", path);
	close(fd);
}

/* With dax, programs run in the device's memory itself; not every file system and device can do that. */
static void mount_layer(const char *device, const char *type, const char *where)
{
	struct timespec pause = {0, 1000000};

	/* Devices are found in the background. */
	for (int waits = 0; access(device, F_OK) && waits < 5000; waits++)
		nanosleep(&pause, NULL);
	mkdir(where, 0755);
	if (mount(device, where, type, MS_RDONLY, "dax") && mount(device, where, type, MS_RDONLY, NULL))
		fail("cannot mount", device);
}

static void make_root(FILE *steps)
{
	static char line[512], options[4096] = "upperdir=/upper/files,workdir=/upper/work,lowerdir=/own";
	char what[16], name[256], type[32], where[32];
	int layers = 0;

	while (fgets(line, sizeof(line), steps)) {
		if (sscanf(line, "%15s %255s %31s", what, name, type) < 2)
			continue;
		if (!strcmp(what, "module") || !strcmp(what, "offer"))
			load_module(name, *what == 'o');
		if (strcmp(what, "layer"))
			continue;
		snprintf(where, sizeof(where), "/layer%d", layers++);
		mount_layer(name, type, where);
		strcat(strcat(options, ":"), where);
	}
	mkdir("/upper", 0755), mkdir("/root.new", 0755), mkdir("/own", 0755);
	if (mount("tmpfs", "/upper", "tmpfs", 0, "mode=755,size=90%"))
		fail("cannot mount", "a file system in memory");
	mkdir("/upper/files", 0755), mkdir("/upper/work", 0755);
	if (mount("overlay", "/root.new", "overlay", 0, options))
		fail("cannot mount the layers", options);
	if (chdir("/root.new") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		fail("cannot change to", "the layers");
}
