//! Folders of the host inside containers, from the flag to the kernel.

texts! {
    "an administrator of the host releases the folder, or one above it: `berth serve --mount-root DIR`, BERTH_MOUNT_ROOT, or `mount-root` in berth.toml" => "un administrateur de l’hôte libère le dossier, ou l’un de ses parents\u{202f}: `berth serve --mount-root DIR`, BERTH_MOUNT_ROOT, ou `mount-root` dans berth.toml";
    "`/` inside is the container's own root; mount on a folder below it" => "`/` est la racine du conteneur lui-même\u{202f}; montez sur un dossier en dessous";
    "`{path}` lies in {=place}, which Berth mounts itself; choose another target" => "`{path}` se trouve dans {place}, que Berth monte lui-même\u{202f}; choisissez une autre cible";
    "a tmpfs that is read-only would stay empty; leave `ro` out" => "un tmpfs en lecture seule resterait vide\u{202f}; retirez `ro`";
    "a tmpfs of 0 bytes would have no bound (tmpfs(5)); leave the size out or give one" => "un tmpfs de 0 octet n’aurait pas de limite (tmpfs(5))\u{202f}; retirez la taille ou donnez-en une";
    "only a tmpfs has a size; a folder of the host has that of its disk" => "seul un tmpfs a une taille\u{202f}; un dossier de l’hôte a celle de son disque";
    "`{text}` is neither SRC:DST, SRC:DST:ro nor tmpfs:DST[:size=SIZE]" => "`{text}` n’est ni SRC:DST, ni SRC:DST:ro, ni tmpfs:DST[:size=SIZE]";
    "`{text}` is no option of a mount; use ro, or size=SIZE of a tmpfs" => "`{text}` n’est pas une option de montage\u{202f}; utilisez ro, ou size=SIZE pour un tmpfs";
    "`{path}` is not an absolute path" => "`{path}` n’est pas un chemin absolu";
    "`{path}` has an empty part, `.` or `..`; write the path out" => "`{path}` contient une partie vide, `.` ou `..`\u{202f}; écrivez le chemin en entier";
    "`{path}` is longer than {most} bytes or holds a control character" => "`{path}` dépasse {most} octets ou contient un caractère de contrôle";
    "no folder is" => "aucun dossier ne l’est";
    "only {folders} is" => "seul {folders} l’est";
    "the folder {path} of the host is not released for containers; {which}" => "le dossier {path} de l’hôte n’est pas libéré pour les conteneurs\u{202f}; {which}";
    "open the folder {=path} of the host" => "ouvrir le dossier {path} de l’hôte";
    "it holds or is {=path}, where Berth keeps its own files" => "il contient ou il est {path}, où Berth garde ses propres fichiers";
    "choose another folder" => "choisissez un autre dossier";
    "make it, or give the mount another source" => "créez-le, ou donnez une autre source au montage";
    "its path holds a symbolic link: name the folder by its real path (`realpath`)" => "son chemin contient un lien symbolique\u{202f}: nommez le dossier par son chemin réel (`realpath`)";
    "only folders can be mounted: name the folder that the file is in" => "seuls des dossiers peuvent être montés\u{202f}: nommez celui où se trouve le fichier";
    "mount {=source} on {=target}" => "monter {source} sur {target}";
    "the container runs under an earlier version of Berth: stop it, then add the mount" => "le conteneur tourne sous une version antérieure de Berth\u{202f}: arrêtez-le, puis ajoutez le montage";
    "find Berth's own folders" => "trouver les dossiers de Berth";
    "add a mount to the container" => "ajouter un montage au conteneur";
    "the request has no mount" => "la requête ne contient pas de montage";
    "prepare the folders of the host" => "préparer les dossiers de l’hôte";
    "the child that does it died" => "le processus qui s’en charge est mort";
    "a folder of the host comes with its descriptor, and nothing else does" => "un dossier de l’hôte vient avec son descripteur, et rien d’autre n’en a";
    "it was not done within {seconds} s" => "ce n’était pas fait en {seconds} s";
    "map the ids of {=path}" => "traduire les identifiants de {path}";
    "the folder must lie on a file system with idmapped mounts, such as ext4, xfs or btrfs, and be mounted without mapped ids" => "le dossier doit se trouver sur un système de fichiers qui sait traduire les identifiants, comme ext4, xfs ou btrfs, et être monté sans identifiants traduits";
    "a mount is changed or taken away while it is stopped; stop it first" => "un montage se modifie ou se retire à l’arrêt\u{202f}; arrêtez-le d’abord";
    "it takes one new mount at a time, and no new limits with it; stop it first, or add one after the other" => "il accepte un seul nouveau montage à la fois, et pas de nouvelles limites avec lui\u{202f}; arrêtez-le d’abord, ou ajoutez-les l’un après l’autre";
    "it takes a new mount while it runs; wait until it does, or stop it first" => "il accepte un nouveau montage lorsqu’il est en marche\u{202f}; attendez qu’il le soit, ou arrêtez-le d’abord";
    "a container has at most {most} mounts, this one would have {count}" => "un conteneur a au plus {most} montages, celui-ci en aurait {count}";
    "two mounts have the target {=path}" => "deux montages ont la cible {path}";
    "only an administrator brings a folder of the host into a container ({path})" => "seul un administrateur fait entrer un dossier de l’hôte dans un conteneur ({path})";
    "ask an administrator to add the mount; a `tmpfs` needs none" => "demandez à un administrateur d’ajouter le montage\u{202f}; un `tmpfs` n’en demande pas";
}
