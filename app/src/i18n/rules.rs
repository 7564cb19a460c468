//! The rules of form fields, said as a whole. In English the model's own message is shown, which names what was typed.

use crate::texts;

texts! {
    NAME = "1 to 63 of a-z, 0-9 and -, starting with a letter, not ending with -.", "De 1 à 63 caractères parmi a-z, 0-9 et -, avec une lettre au début et sans - à la fin.";
    TEMPLATE = "Choose a template.", "Choisissez un modèle.";
    HOSTNAME = "Letters, digits and -, parts joined by a point.", "Lettres, chiffres et -, parties séparées par un point.";
    CPUS = "A number of cores from 0.01 to all of the host, such as 2 or 0.5.", "Un nombre de cœurs de 0.01 jusqu’à tous ceux de l’hôte, par exemple 2 ou 0.5.";
    CPU_WEIGHT = "A weight from 1 to 10000; 100 is normal.", "Un poids de 1 à 10000\u{202f}; 100 est normal.";
    CPUSET = "A list of CPUs such as 0,2-3.", "Une liste de processeurs, par exemple 0,2-3.";
    MEMORY = "At least 16M, such as 512M or 2G.", "Au moins 16M, par exemple 512M ou 2G.";
    SIZE = "A size such as 512M, 2GiB or 1000000.", "Une taille, par exemple 512M, 2GiB ou 1000000.";
    PIDS = "A number of processes, at least 1.", "Un nombre de processus, au moins 1.";
    CIDR = "An address with its prefix length, such as 10.213.0.5/22.", "Une adresse avec la longueur de son préfixe, par exemple 10.213.0.5/22.";
    ADDRESS = "An address such as 10.213.0.1.", "Une adresse, par exemple 10.213.0.1.";
    BITS = "A rate in bits per second, such as 50M.", "Un débit en bits par seconde, par exemple 50M.";
    MTU = "A number from 576 to 65535.", "Un nombre de 576 à 65535.";
    MAC = "A unicast MAC address such as 02:00:5e:10:00:01.", "Une adresse MAC individuelle, par exemple 02:00:5e:10:00:01.";
    PUBLISH = "HOST:CONTAINER, such as 8080:80, 53:53/udp or 8000-8010:9000-9010.", "HÔTE:CONTENEUR, par exemple 8080:80, 53:53/udp ou 8000-8010:9000-9010.";
    ENV = "One NAME=value per line.", "Un NOM=valeur par ligne.";
    PASSWORD = "12 to 1024 characters of any kind.", "De 12 à 1024 caractères, tous permis.";
    URL = "An address such as https://example.org/rootfs.tar.xz.", "Une adresse, par exemple https://example.org/rootfs.tar.xz.";
    SOURCE_URL = "An address that begins with https:// or http://.", "Une adresse qui commence par https:// ou http://.";
    SHA256 = "64 hexadecimal digits.", "64 chiffres hexadécimaux.";
}
