import os
import pathlib

import numpy as np
import tensorflow as tf
from tiny_texts import decoded, encoded

from tfcompress.data import load_text_files
from tfcompress.data.texts.characters import CHARACTERS

TRAIN = '"2","A title","Some text, with a comma"\n"1","Quoted","He said ""no""."\n"2","","line\\nbreak"\n'


class LoadTextFilesTest(tf.test.TestCase):
    def file(self, content, name="train.csv"):
        path = os.path.join(self.get_temp_dir(), name)
        pathlib.Path(path).write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def test_title_and_text_and_classes_from_zero(self):
        path = self.file(TRAIN)
        data = load_text_files(path, length=40)
        indices, labels = data.arrays.train
        expected = ["a title some text, with a comma", 'quoted he said "no".', " line\nbreak"]
        self.assertAllEqual(indices, [encoded(text, 40) for text in expected])
        self.assertAllEqual(labels, [1, 0, 1])
        self.assertEqual((indices.dtype, labels.dtype, data.classes), (np.uint8, np.int64, 2))
        self.assertEqual((data.name, data.arrays.test), (path, None))

    def test_line_breaks_are_characters_where_the_alphabet_has_them(self):
        (_, _, third), _ = load_text_files(self.file(TRAIN), length=8, alphabet=CHARACTERS + "\n").arrays.train
        self.assertAllEqual(third, encoded(" line\nbreak", 8, CHARACTERS + "\n"))
        self.assertEqual(third[5], 70)

    def test_other_numbers_of_texts_and_forms_of_lines(self):
        # Without quotes, with Windows line ends, without a line end at the end, with umlauts.
        for content in ('1,one\r\n"3",""\r\n2,"drei, Bär"', b'"1","one"\n"3",""\n"2","drei, B\xc3\xa4r"\n'):
            data = load_text_files(pathlib.Path(self.file(content)), length=12)
            self.assertEqual([decoded(text) for text in data.arrays.train[0]], ["one", "", "drei, b?r"])
            self.assertAllEqual(data.arrays.train[1], [0, 2, 1])
            self.assertEqual(data.classes, 3)
        four = load_text_files(self.file('"1","a","b","c"\n"2","d","","f"\n'), length=6)
        self.assertEqual([decoded(text) for text in four.arrays.train[0]], ["a b c", "d  f"])

    def test_test_file_classes_and_samples(self):
        train, test = self.file(TRAIN), self.file('"1","t","x"\n', "test.csv")
        data = load_text_files(train, test, length=5, samples=2)
        self.assertAllEqual(data.arrays.train[1], [1, 0])
        self.assertAllEqual(data.arrays.test[0], [encoded("t x", 5)])
        self.assertEqual(load_text_files(train, classes=5).classes, 5)

    def test_lines_of_another_form_are_refused(self):
        good = '"1","title","text"\n' * 1500
        for line, shown in (
            ('"1","title"', r'\'"1","title"\''),  # too few
            ('"1","title","text","more"', "more"),
            ('"one","title","text"', "one"),
            ('"-1","title","text"', "-1"),
            ('"1","title","no "quotes" here"', "quotes"),
            ('"1","title","open', "open"),
            ("", "''"),
        ):
            with self.assertRaisesRegex(ValueError, rf"Expected lines of .*line 1501 of '.*train.csv': .*{shown}"):
                load_text_files(self.file(good + line + "\n" + good))
        with self.assertRaisesRegex(ValueError, "line 2 of .*UTF-8|UTF-8.*line 2 of "):
            load_text_files(self.file(b'"1","a"\n"2","\xff\xfe"\n'))
        for content in ("", "class\n", "\n"):
            with self.assertRaisesRegex(ValueError, "line 1 of "):
                load_text_files(self.file(content))
        with self.assertRaisesRegex(ValueError, "line 1 of .*'class,text'"):
            load_text_files(self.file('class,text\n"1","a"\n'))
        with self.assertRaisesRegex(ValueError, r"line 2 of .*x\.\.\.'"):
            load_text_files(self.file('"1","a"\n"2","' + "x" * 5000 + "\n"))

    def test_long_texts_and_odd_bytes(self):
        long = "y" * 300_000
        for content in (f'"1","{long}"\n"2","b"\n', f'"1","b"\n"2","{long} ""q"""\n', '"1","a\0b"\n"2","b"\n'):
            self.assertAllEqual(load_text_files(self.file(content), length=4).arrays.train[1], [0, 1])
        for encoding in ("utf-16", "utf-8-sig"):
            with self.assertRaisesRegex(ValueError, "UTF-8 without a byte order mark. Received: a file that begins"):
                load_text_files(self.file('"1","a"\n"2","b"\n'.encode(encoding)))
        for content in (bytes(range(256)), '"1","a"\n'.encode("utf-16-le"), b'"1","a"\r"2","b"\r'):
            with self.assertRaisesRegex(ValueError, "line 1 of "):
                load_text_files(self.file(content))
        with self.assertRaisesRegex(ValueError, "zero byte"):
            load_text_files("a\0b")

    def test_classes_outside_the_range_are_refused(self):
        path = self.file(TRAIN)
        with self.assertRaisesRegex(ValueError, "counted from 1 on. Received: class 0 in line 2 of "):
            load_text_files(self.file('"1","a"\n"0","b"\n', "zero.csv"))
        with self.assertRaisesRegex(ValueError, "from 1 to 2. Received: class 3 in line 1 of '.*test.csv'"):
            load_text_files(path, self.file('"3","a","b"\n', "test.csv"))
        with self.assertRaisesRegex(ValueError, "from 1 to 2. Received: class 4 in line 1 of "):
            load_text_files(self.file('"4","a"\n', "four.csv"), classes=2)
        with self.assertRaisesRegex(ValueError, "two classes or more.*only class 1"):
            load_text_files(self.file('"1","a"\n', "one.csv"))

    def test_missing_files_and_settings_out_of_range_are_refused(self):
        path = self.file(TRAIN)
        with self.assertRaisesRegex(ValueError, "`train` to be the path.*no file at '/nowhere.csv'"):
            load_text_files("/nowhere.csv")
        with self.assertRaisesRegex(ValueError, "`test` to be the path.*no file at"):
            load_text_files(path, self.get_temp_dir())
        with self.assertRaisesRegex(TypeError, "`train` to be the path of a CSV file, .* Received: train=\\["):
            load_text_files([path])
        for settings in ({"length": 0}, {"alphabet": "xx"}, {"classes": 1}, {"classes": 2.0}, {"samples": 0}):
            with self.assertRaisesRegex(ValueError, next(iter(settings))):
                load_text_files("/nowhere.csv", **settings)  # before the files are looked at


if __name__ == "__main__":
    tf.test.main()
