//! Why the kernel refuses a call, in the words of the C library.

texts! {
    "Operation not permitted (os error 1)" => "opération non permise (erreur système 1)";
    "No such file or directory (os error 2)" => "aucun fichier ou dossier de ce nom (erreur système 2)";
    "No such process (os error 3)" => "aucun processus de ce nom (erreur système 3)";
    "Interrupted system call (os error 4)" => "appel système interrompu (erreur système 4)";
    "Input/output error (os error 5)" => "erreur d’entrée-sortie (erreur système 5)";
    "I/O error (os error 5)" => "erreur d’entrée-sortie (erreur système 5)";
    "No such device or address (os error 6)" => "aucun périphérique ou adresse de ce nom (erreur système 6)";
    "Argument list too long (os error 7)" => "liste d’arguments trop longue (erreur système 7)";
    "Exec format error (os error 8)" => "format d’exécutable incorrect (erreur système 8)";
    "Bad file descriptor (os error 9)" => "descripteur de fichier incorrect (erreur système 9)";
    "No child processes (os error 10)" => "aucun processus enfant (erreur système 10)";
    "Resource temporarily unavailable (os error 11)" => "ressource momentanément indisponible (erreur système 11)";
    "Cannot allocate memory (os error 12)" => "mémoire insuffisante (erreur système 12)";
    "Out of memory (os error 12)" => "mémoire insuffisante (erreur système 12)";
    "Permission denied (os error 13)" => "permission refusée (erreur système 13)";
    "Device or resource busy (os error 16)" => "périphérique ou ressource occupé (erreur système 16)";
    "Resource busy (os error 16)" => "périphérique ou ressource occupé (erreur système 16)";
    "File exists (os error 17)" => "le fichier existe (erreur système 17)";
    "Invalid cross-device link (os error 18)" => "lien entre deux périphériques (erreur système 18)";
    "No such device (os error 19)" => "aucun périphérique de ce nom (erreur système 19)";
    "Not a directory (os error 20)" => "ce n’est pas un dossier (erreur système 20)";
    "Is a directory (os error 21)" => "c’est un dossier (erreur système 21)";
    "Invalid argument (os error 22)" => "argument incorrect (erreur système 22)";
    "Too many open files in system (os error 23)" => "trop de fichiers ouverts sur le système (erreur système 23)";
    "Too many open files (os error 24)" => "trop de fichiers ouverts (erreur système 24)";
    "File too large (os error 27)" => "fichier trop grand (erreur système 27)";
    "No space left on device (os error 28)" => "plus de place sur le périphérique (erreur système 28)";
    "Read-only file system (os error 30)" => "système de fichiers en lecture seule (erreur système 30)";
    "Broken pipe (os error 32)" => "tube rompu (erreur système 32)";
    "Numerical result out of range (os error 34)" => "valeur hors limites (erreur système 34)";
    "File name too long (os error 36)" => "nom de fichier trop long (erreur système 36)";
    "Function not implemented (os error 38)" => "fonction absente du noyau (erreur système 38)";
    "Directory not empty (os error 39)" => "dossier non vide (erreur système 39)";
    "Too many levels of symbolic links (os error 40)" => "trop de liens symboliques (erreur système 40)";
    "Operation not supported (os error 95)" => "opération non prise en charge (erreur système 95)";
    "Address already in use (os error 98)" => "adresse déjà utilisée (erreur système 98)";
    "Network is unreachable (os error 101)" => "réseau inaccessible (erreur système 101)";
    "Connection reset by peer (os error 104)" => "connexion coupée par l’autre bout (erreur système 104)";
    "Connection timed out (os error 110)" => "délai de connexion dépassé (erreur système 110)";
    "Connection refused (os error 111)" => "connexion refusée (erreur système 111)";
    "No route to host (os error 113)" => "aucune route vers cet hôte (erreur système 113)";
    "Disk quota exceeded (os error 122)" => "quota de disque dépassé (erreur système 122)";
}
